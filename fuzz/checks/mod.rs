//! What must hold of any bytes that reach a parser, a file a parser: [`plan::check`] and its like. The fuzz targets ask it of bytes that
//! they make up, `tests/house` of those in `fuzz/corpus`.

pub mod environment;
pub mod expression;
pub mod journal;
pub mod plan;
pub mod recovery;
pub mod requests;
