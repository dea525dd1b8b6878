//! HTTP methods: [`Method`].

use serde::Deserialize;

/// The methods that a plan may name.
pub const METHODS: &[&str] = &["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names are those of RFC 9110")]
pub enum Method {
    #[default]
    Get,
    Head,
    Options,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Whether it only reads (RFC 9110, 9.2.1: safe methods).
    pub fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options)
    }

    /// Whether sending it twice is as good as once (RFC 9110, 9.2.2: idempotent methods).
    pub fn repeats(self) -> bool {
        self.reads() || matches!(self, Self::Put | Self::Delete)
    }

    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl Method {
    /// The method of this name.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Get, Self::Head, Self::Options, Self::Post, Self::Put, Self::Patch, Self::Delete];
        all.into_iter().find(|method| method.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_may_be_named_is_one() {
        for name in METHODS {
            assert_eq!(Method::parse(name).map(Method::as_str), Some(*name));
        }
        assert_eq!(Method::parse("get"), None);
    }
}
