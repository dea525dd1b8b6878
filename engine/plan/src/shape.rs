//! What values look like, as static data: [`Shape`] and [`Field`]. Kinds describe their inputs and outputs with them; check, schema,
//! reference and did-you-mean read them.

/// The shape of a value. Static data, so that a kind is described in one `const`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// Anything; nothing is known of it.
    Any,
    /// Text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Text such as `1h30m`.
    Duration,
    /// Text such as `64MiB`.
    Size,
    /// Text, RFC 3339.
    Datetime,
    /// A whole number that may not fit 64 bits (an LSN), as decimal text.
    Decimal,
    /// A path on the runner; a relative one is relative to the plan's folder.
    Path,
    /// A URL.
    Url,
    /// A band: `{low, high}` or `[low, high]`, both included.
    Band,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A list of one shape.
    List(&'static Shape),
    /// A mapping from any text to one shape.
    Map(&'static Shape),
    /// A mapping with these keys.
    Record(&'static [Field]),
    /// Either of two.
    Either(&'static Shape, &'static Shape),
    /// The shape of the named input's value (`flow.set`: its outputs are its values).
    OfInput(&'static str),
}

/// One key of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// One or two sentences.
    pub doc: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether it must be given.
    pub required: bool,
    /// The value when it is not given, as JSON text.
    pub default: Option<&'static str>,
    /// Whether a secret may stand in it.
    pub secrets: bool,
    /// Whether the text names a file whose content belongs to the plan (digest, `sources/`).
    pub source_file: bool,
    /// What to write instead, where it is read only because plans may still have it.
    pub deprecated: Option<&'static str>,
}

impl Field {
    /// A field that must be given.
    pub const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            shape,
            required: true,
            default: None,
            secrets: false,
            source_file: false,
            deprecated: None,
        }
    }

    /// A field that may be left out.
    pub const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { required: false, ..Self::required(name, shape, doc) }
    }

    /// A field with a value for when it is left out, as JSON text.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), required: false, ..self }
    }

    /// The same, and secrets may stand in it.
    #[must_use]
    pub const fn with_secrets(self) -> Self {
        Self { secrets: true, ..self }
    }

    /// The same, but no longer to be used: `instead` says what to write.
    #[must_use]
    pub const fn deprecated(self, instead: &'static str) -> Self {
        Self { deprecated: Some(instead), ..self }
    }

    /// The same, and it names a file that belongs to the plan.
    #[must_use]
    pub const fn naming_a_source(self) -> Self {
        Self { source_file: true, ..self }
    }
}

impl Shape {
    /// In a few words, for messages: `text`, `list of text`, `one of "a", "b"`.
    pub fn words(&self) -> String {
        match self {
            Self::Any => "any value".into(),
            Self::Text => "text".into(),
            Self::Integer => "a whole number".into(),
            Self::Number => "a number".into(),
            Self::Boolean => "true or false".into(),
            Self::Duration => "a duration such as `90s`".into(),
            Self::Size => "a size such as `64MiB`".into(),
            Self::Datetime => "a time in RFC 3339".into(),
            Self::Decimal => "a decimal number as text".into(),
            Self::Path => "a path".into(),
            Self::Url => "a URL".into(),
            Self::Band => "a band {low, high}".into(),
            Self::OneOf(texts) => {
                format!(
                    "one of {}",
                    texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
                )
            }
            Self::List(of) => format!("a list, each {}", of.words()),
            Self::Map(of) => format!("a mapping to {}", of.words()),
            Self::Record(fields) => {
                format!(
                    "a mapping with {}",
                    fields.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Either(a, b) => format!("{} or {}", a.words(), b.words()),
            Self::OfInput(name) => format!("what `{name}` is"),
        }
    }
}
