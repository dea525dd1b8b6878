//! T-SQL as written: text into statements. Main function: [`batch::parse_batch`].

pub mod statement;

pub mod cursor;

pub mod security;

pub mod media;

pub mod ddl;

pub mod admin;

pub mod logins;

pub mod machine;

pub mod principals;

pub mod batch;
