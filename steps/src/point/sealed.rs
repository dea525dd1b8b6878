//! What a seal makes: [`SealedRecord`], a point's manifest or a log point's record, and how it is told.

use drydock_recovery::Time;
use drydock_recovery::catalogue::Record;
use drydock_recovery::manifest::{Band, FormatError, LogPoint, Manifest, PointId, ProvedClaim, off_words};
use drydock_step::{Connection, Millis, StepError};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::layout;
use super::said::signed;

/// A sealed record.
pub(super) enum SealedRecord {
    /// A recovery point.
    Point(Box<Manifest>),
    /// A log point.
    Log(Box<LogPoint>),
}

impl SealedRecord {
    /// Where the record of an id lies.
    pub(super) fn place(id: &PointId, between: bool) -> String {
        if between { layout::log_point(id) } else { layout::manifest(id) }
    }

    /// The record that a text holds.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn parse(text: &str, between: bool) -> Result<Self, FormatError> {
        if between {
            LogPoint::parse(text).map(|log| Self::Log(Box::new(log)))
        } else {
            Manifest::parse(text).map(|point| Self::Point(Box::new(point)))
        }
    }

    /// As it is written.
    ///
    /// # Errors
    /// `internal`.
    pub(super) fn text(&self, connection: &dyn Connection) -> Result<String, StepError> {
        match self {
            Self::Point(point) => signed(connection, point),
            Self::Log(log) => signed(connection, log),
        }
    }

    pub(super) fn id(&self) -> &PointId {
        match self {
            Self::Point(point) => &point.id,
            Self::Log(log) => &log.id,
        }
    }

    /// Where it lies.
    pub(super) fn path(&self) -> String {
        Self::place(self.id(), matches!(self, Self::Log(_)))
    }

    fn claims(&self) -> &[ProvedClaim] {
        match self {
            Self::Point(point) => &point.claims,
            Self::Log(log) => &log.claims,
        }
    }

    fn marked_at(&self) -> Time {
        match self {
            Self::Point(point) => point.marked_at,
            Self::Log(log) => log.marked_at,
        }
    }

    fn rows(&self) -> &IndexMap<String, Band> {
        match self {
            Self::Point(point) => &point.rows,
            Self::Log(log) => &log.rows,
        }
    }

    /// What may be missing of it.
    pub(super) fn incomplete(&mut self) -> &mut Vec<String> {
        match self {
            Self::Point(point) => &mut point.incomplete,
            Self::Log(log) => &mut log.incomplete,
        }
    }

    fn lacks(&self) -> &[String] {
        match self {
            Self::Point(point) => &point.incomplete,
            Self::Log(log) => &log.incomplete,
        }
    }

    fn skews(&self) -> Vec<(&str, f64)> {
        match self {
            Self::Point(point) => point.skews().collect(),
            Self::Log(log) => log.skews().collect(),
        }
    }

    /// As an entry of the catalogue.
    fn record(&self) -> Record<'_> {
        match self {
            Self::Point(point) => Record::Point(point),
            Self::Log(log) => Record::Log(log),
        }
    }

    /// The servers whose clocks went otherwise than the runner's, a line each.
    pub(super) fn clocks_told(&self) -> Vec<String> {
        let clocks = self.record().clocks().iter();
        let told = clocks.filter_map(|(name, one)| Some((name, one.differs()?)));
        told.map(|(name, off)| format!("the clock of {name} went {}", off_words(off))).collect()
    }

    /// What was missed of these objectives, in words.
    pub(super) fn missed(&self, skew: Option<Millis>, clocks: Option<Millis>) -> Option<String> {
        let missed: Vec<String> =
            self.skew_missed(skew).into_iter().chain(self.clocks_missed(clocks)).collect();
        (!missed.is_empty()).then(|| missed.join("; "))
    }

    /// In words, which servers' clocks were off farther than wanted.
    fn clocks_missed(&self, clocks: Option<Millis>) -> Option<String> {
        let wanted = clocks?;
        let most = i64::try_from(wanted.0).unwrap_or(i64::MAX);
        let off = self.record().clocks().iter().map(|(name, one)| (name, one.off()));
        let far = off.filter(|(_, off)| off.num_milliseconds().abs() > most);
        let far: Vec<String> =
            far.map(|(name, off)| format!("the clock of {name} went {}", off_words(off))).collect();
        (!far.is_empty()).then(|| format!("{}, which is more than {wanted}", far.join(", ")))
    }

    /// The outputs of `point.seal`.
    pub(super) fn outputs(&self) -> Value {
        let mut claims: Vec<&str> = Vec::new();
        for claim in self.claims() {
            if !claims.contains(&claim.name.as_str()) {
                claims.push(&claim.name);
            }
        }
        json!({
            "id": self.id(),
            "manifest": self.path(),
            "claims": claims,
            "skew_s": self.skews().into_iter().map(|(_, skew_s)| skew_s).max_by(f64::total_cmp),
            "marked_at": self.marked_at(),
            "bands": self.rows(),
            "incomplete": self.lacks(),
            "clocks": self.record().clocks_off(),
        })
    }

    /// In words, that vectors were fixed longer before the mark than wanted.
    fn skew_missed(&self, skew: Option<Millis>) -> Option<String> {
        let skew = skew?;
        let objective_s = skew.0 as f64 / 1000.0;
        let skews = self.skews();
        let missed = || skews.iter().filter(|(_, skew_s)| *skew_s > objective_s);
        let what = match self {
            Self::Point(point) if point.postgres.is_empty() => "collections",
            Self::Point(point) if point.qdrant.is_some() => "collections and clusters",
            _ => "clusters",
        };
        let (of, skew_s) = missed().max_by(|(_, one), (_, other)| one.total_cmp(other))?;
        Some(format!(
            "the skew of {} of {} {what} is greater than {skew}; the greatest, of {of}, is {skew_s} s",
            missed().count(),
            skews.len(),
        ))
    }
}
