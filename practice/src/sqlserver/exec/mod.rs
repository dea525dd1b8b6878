//! Statements at work: sessions, transactions, backups and restores. Main type: [`session::Session`].

pub mod output;

pub mod halt;

pub mod transaction;

pub mod history;

pub mod rights;

pub mod session;

pub mod commit;

pub mod tables;

pub mod view_rows;

pub mod logins;

pub mod principals;

pub mod given;

pub mod machine;

pub mod views;

pub mod principal_functions;

pub mod server_functions;

pub mod rows;

pub mod describe;

pub mod indexes;

pub mod keys;

pub mod columns;

pub mod ddl;

pub mod select_into;

pub mod operation;

pub mod devices;

pub mod databases;

pub mod roll_forward;

pub mod check;

pub mod security;

pub mod backup_media;

pub mod backup_rules;

pub mod backup;

pub mod recovery;

pub mod restore;

pub mod read_media;

pub mod agent;

pub mod procedures;

pub mod steering;

pub mod interpreter;
