//! What lies on disk: data files, logs, media, and the catalogue of databases. Main type: [`instance::Instance`].

pub mod lsn;

pub mod guids;

pub mod record;

pub mod log;

pub mod calendar;

pub mod like;

pub mod functions;

pub mod database;

pub mod certificate;

pub mod media;

pub mod files;

pub mod sessions;

pub mod logins;

pub mod machine;

pub mod installation;

pub mod paths;

pub mod instance;
