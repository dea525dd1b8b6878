//! The data types that this server knows, and which of two wins. Main type: [`SqlType`].

use std::fmt;

use super::error::SqlError;

/// The declared length of a character or binary column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// So many characters (or bytes).
    Of(u16),
    /// `max`.
    Max,
}

/// A T-SQL data type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The variants carry the names of the types.
pub enum SqlType {
    Bit,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Real,
    Float,
    Decimal {
        precision: u8,
        scale: u8,
    },
    NVarChar(Width),
    VarChar(Width),
    NChar(u16),
    Char(u16),
    VarBinary(Width),
    Binary(u16),
    DateTime,
    DateTime2(u8),
    Date,
    Time(u8),
    DateTimeOffset(u8),
    UniqueIdentifier,
    /// `sql_variant`, which only `SERVERPROPERTY` and its like return.
    Variant,
    /// The type of a bare NULL; int on the wire.
    Null,
}

/// What kind of value a type holds; comparisons and conversions go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Whole numbers, bit among them.
    Integer,
    /// `decimal`, `numeric`.
    Decimal,
    /// `real`, `float`.
    Float,
    /// Characters.
    Text,
    /// Bytes.
    Binary,
    /// `date`, `datetime`, `datetime2`.
    Moment,
    /// `time`.
    Time,
    /// `datetimeoffset`.
    Offset,
    /// `uniqueidentifier`.
    Guid,
    /// `sql_variant`.
    Variant,
    /// NULL.
    Null,
}

impl SqlType {
    /// `sysname`.
    pub const SYSNAME: Self = Self::NVarChar(Width::Of(128));
    /// The type of an LSN.
    pub const LSN: Self = Self::Decimal { precision: 25, scale: 0 };

    /// The type of `name(args)` as written in T-SQL, for example `nvarchar`, `["max"]`.
    ///
    /// # Errors
    /// 2715 for a name that no server knows, a refusal for types that this one lacks, 2717/2750 for sizes.
    pub fn parse(name: &str, args: &[String]) -> Result<Self, SqlError> {
        let lower = name.to_ascii_lowercase();
        let number = |at: usize, default: u16| -> Result<u16, SqlError> {
            args.get(at).map_or(Ok(default), |text| {
                text.parse()
                    .map_err(|_| SqlError::not_understood(format_args!("the size '{text}' of type {name}")))
            })
        };
        let scale = || -> Result<u8, SqlError> {
            let scale = number(0, 7)?;
            u8::try_from(scale).ok().filter(|s| *s <= 7).ok_or_else(|| {
                SqlError::new(1002, format!("Line 1: Specified scale {scale} is invalid.")).class(15)
            })
        };
        let width = |limit: u16| -> Result<Width, SqlError> {
            if args.first().is_some_and(|text| text.eq_ignore_ascii_case("max")) {
                return Ok(Width::Max);
            }
            sized(name, number(0, 1)?, limit).map(Width::Of)
        };
        Ok(match lower.as_str() {
            "bit" => Self::Bit,
            "tinyint" => Self::TinyInt,
            "smallint" => Self::SmallInt,
            "int" | "integer" => Self::Int,
            "bigint" => Self::BigInt,
            "real" => Self::Real,
            "float" => {
                if number(0, 53)? <= 24 {
                    Self::Real
                } else {
                    Self::Float
                }
            }
            "decimal" | "numeric" | "dec" => decimal(number(0, 18)?, number(1, 0)?)?,
            "nvarchar" => Self::NVarChar(width(4000)?),
            "varchar" => Self::VarChar(width(8000)?),
            "nchar" => Self::NChar(sized(name, number(0, 1)?, 4000)?),
            "char" => Self::Char(sized(name, number(0, 1)?, 8000)?),
            "sysname" => Self::SYSNAME,
            "varbinary" => Self::VarBinary(width(8000)?),
            "binary" => Self::Binary(sized(name, number(0, 1)?, 8000)?),
            "datetime" => Self::DateTime,
            "datetime2" => Self::DateTime2(scale()?),
            "date" => Self::Date,
            "time" => Self::Time(scale()?),
            "datetimeoffset" => Self::DateTimeOffset(scale()?),
            "uniqueidentifier" => Self::UniqueIdentifier,
            "sql_variant" => Self::Variant,
            "money" | "smallmoney" | "smalldatetime" | "text" | "ntext" | "image" | "xml" | "rowversion"
            | "timestamp" | "geography" | "geometry" | "hierarchyid" | "json" | "vector" => {
                return Err(SqlError::not_understood(format_args!("the type {lower}")));
            }
            _ => {
                let text = format!("Column, parameter, or variable: Cannot find data type {name}.");
                return Err(SqlError::new(2715, text));
            }
        })
    }

    /// What kind of value it holds.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Bit | Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt => Family::Integer,
            Self::Real | Self::Float => Family::Float,
            Self::Decimal { .. } => Family::Decimal,
            Self::NVarChar(_) | Self::VarChar(_) | Self::NChar(_) | Self::Char(_) => Family::Text,
            Self::VarBinary(_) | Self::Binary(_) => Family::Binary,
            Self::DateTime | Self::DateTime2(_) | Self::Date => Family::Moment,
            Self::Time(_) => Family::Time,
            Self::DateTimeOffset(_) => Family::Offset,
            Self::UniqueIdentifier => Family::Guid,
            Self::Variant => Family::Variant,
            Self::Null => Family::Null,
        }
    }

    /// Precedence: of two types that meet, the one with the higher rank wins.
    const fn rank(self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Binary(_) => 1,
            Self::VarBinary(_) => 2,
            Self::Char(_) => 3,
            Self::VarChar(_) => 4,
            Self::NChar(_) => 5,
            Self::NVarChar(_) => 6,
            Self::UniqueIdentifier => 7,
            Self::Bit => 8,
            Self::TinyInt => 9,
            Self::SmallInt => 10,
            Self::Int => 11,
            Self::BigInt => 12,
            Self::Decimal { .. } => 13,
            Self::Real => 14,
            Self::Float => 15,
            Self::Time(_) => 16,
            Self::Date => 17,
            Self::DateTime => 18,
            Self::DateTime2(_) => 19,
            Self::DateTimeOffset(_) => 20,
            Self::Variant => 21,
        }
    }

    /// How many digits a whole number of this type has, as `decimal(p, 0)` would hold them.
    const fn as_decimal(self) -> (u8, u8) {
        match self {
            Self::Decimal { precision, scale } => (precision, scale),
            Self::Bit => (1, 0),
            Self::TinyInt => (3, 0),
            Self::SmallInt => (5, 0),
            Self::Int => (10, 0),
            _ => (19, 0),
        }
    }

    /// The type in which two values meet, as in CASE, UNION or a comparison.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        let (low, high) = if self.rank() <= other.rank() { (self, other) } else { (other, self) };
        match high {
            Self::Decimal { .. } if low.family() == Family::Decimal || low.family() == Family::Integer => {
                let ((p1, s1), (p2, s2)) = (low.as_decimal(), high.as_decimal());
                let scale = s1.max(s2);
                Self::Decimal { precision: (p1 - s1).max(p2 - s2).saturating_add(scale).min(38), scale }
            }
            Self::DateTime2(a) => match low {
                Self::DateTime2(b) => Self::DateTime2(a.max(b)),
                _ => high,
            },
            _ if high.family() == Family::Text && low.family() == Family::Text => {
                text_of(high, low.text_width().widest(high.text_width()))
            }
            Self::VarBinary(a) => match low {
                Self::VarBinary(b) => Self::VarBinary(a.widest(b)),
                Self::Binary(n) => Self::VarBinary(a.widest(Width::Of(n))),
                _ => high,
            },
            _ => high,
        }
    }

    /// How many characters a text of this type can have; other types as they print.
    #[must_use]
    pub const fn text_width(self) -> Width {
        match self {
            Self::NVarChar(width) | Self::VarChar(width) => width,
            Self::NChar(n) | Self::Char(n) => Width::Of(n),
            _ => Width::Of(50),
        }
    }

    /// Whether its characters are UTF-16.
    #[must_use]
    pub const fn is_national(self) -> bool {
        matches!(self, Self::NVarChar(_) | Self::NChar(_))
    }
}

/// The variable-length text type of `like`'s kind with another width.
#[must_use]
pub const fn text_of(like: SqlType, width: Width) -> SqlType {
    if like.is_national() { SqlType::NVarChar(width) } else { SqlType::VarChar(width) }
}

impl Width {
    /// The wider of two.
    #[must_use]
    pub fn widest(self, other: Self) -> Self {
        match (self, other) {
            (Self::Of(a), Self::Of(b)) => Self::Of(a.max(b)),
            _ => Self::Max,
        }
    }

    /// The width of two texts one after the other, at most `limit` unless one is `max`.
    #[must_use]
    pub fn sum(self, other: Self, limit: u16) -> Self {
        match (self, other) {
            (Self::Of(a), Self::Of(b)) => Self::Of(a.saturating_add(b).min(limit)),
            _ => Self::Max,
        }
    }
}

fn sized(name: &str, size: u16, limit: u16) -> Result<u16, SqlError> {
    if (1..=limit).contains(&size) {
        return Ok(size);
    }
    let text = format!("The size ({size}) given to the type '{name}' exceeds the maximum allowed ({limit}).");
    Err(SqlError::new(131, text).class(15))
}

fn decimal(precision: u16, scale: u16) -> Result<SqlType, SqlError> {
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) if scale <= precision => {
            Ok(SqlType::Decimal { precision, scale })
        }
        _ => {
            Err(SqlError::new(2750, format!("Specified column precision {precision} is invalid.")).class(15))
        }
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |f: &mut fmt::Formatter<'_>, name: &str, width: Width| match width {
            Width::Of(n) => write!(f, "{name}({n})"),
            Width::Max => write!(f, "{name}(max)"),
        };
        match self {
            Self::Bit => f.write_str("bit"),
            Self::TinyInt => f.write_str("tinyint"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Int | Self::Null => f.write_str("int"),
            Self::BigInt => f.write_str("bigint"),
            Self::Real => f.write_str("real"),
            Self::Float => f.write_str("float"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::NVarChar(w) => width(f, "nvarchar", *w),
            Self::VarChar(w) => width(f, "varchar", *w),
            Self::NChar(n) => width(f, "nchar", Width::Of(*n)),
            Self::Char(n) => width(f, "char", Width::Of(*n)),
            Self::VarBinary(w) => width(f, "varbinary", *w),
            Self::Binary(n) => width(f, "binary", Width::Of(*n)),
            Self::DateTime => f.write_str("datetime"),
            Self::DateTime2(s) => write!(f, "datetime2({s})"),
            Self::Date => f.write_str("date"),
            Self::Time(s) => write!(f, "time({s})"),
            Self::DateTimeOffset(s) => write!(f, "datetimeoffset({s})"),
            Self::UniqueIdentifier => f.write_str("uniqueidentifier"),
            Self::Variant => f.write_str("sql_variant"),
        }
    }
}

/// A type as [`fmt::Display`] prints it, read back: how column types are stored.
///
/// # Errors
/// As [`SqlType::parse`].
pub fn parse_text(text: &str) -> Result<SqlType, SqlError> {
    let (name, args) = match text.split_once('(') {
        None => (text, Vec::new()),
        Some((name, rest)) => {
            (name, rest.trim_end_matches(')').split(',').map(|arg| arg.trim().to_owned()).collect())
        }
    };
    SqlType::parse(name.trim(), &args)
}
