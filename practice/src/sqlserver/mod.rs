//! The practice SQL Server: TDS on the wire, real data beneath.
