//! What is in an Octopus, told from a seed: agents with their procedures, episodes and documents. Pure; the
//! same seed tells the same story. Main function: [`first_agents`].

use chrono::{Duration, NaiveDate, NaiveDateTime, NaiveTime};
use uuid::Uuid;

use crate::seed::{Draw, Seed};

use super::words::{FIRST_TRADES, LATER_TRADES, MODELS, OUTCOMES, PLACES, REMARKS, SENTENCES, Trade};

/// Episodes of each of the first agents: together a little more than five thousand.
const EPISODES: usize = 850;

/// Procedures of each agent.
const PROCEDURES: usize = 4;

/// Documents of the first agents, with [`CHUNKS`] vectors each: three collections of two thousand, then
/// smaller ones.
const DOCUMENTS: [usize; 6] = [500, 500, 500, 60, 40, 25];

/// Chunks of each document, one vector a chunk.
const CHUNKS: usize = 4;

/// An agent with all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Agent {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) model: &'static str,
    pub(super) created_at: NaiveDateTime,
    pub(super) procedures: Vec<Procedure>,
    pub(super) episodes: Vec<Episode>,
    pub(super) documents: Vec<Document>,
}

/// How an agent does one thing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Procedure {
    pub(super) name: String,
    pub(super) body: String,
    pub(super) updated_at: NaiveDateTime,
}

/// What an agent did once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Episode {
    pub(super) started_at: NaiveDateTime,
    pub(super) summary: String,
    pub(super) outcome: &'static str,
}

/// What an agent knows; its chunks become vectors.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    pub(super) id: Uuid,
    pub(super) title: String,
    pub(super) version: i32,
    pub(super) updated_at: NaiveDateTime,
    pub(super) chunks: Vec<String>,
}

/// The agents that an Octopus begins with.
pub(super) fn first_agents(seed: Seed) -> Vec<Agent> {
    let sizes = FIRST_TRADES.iter().zip(DOCUMENTS).enumerate();
    sizes
        .map(|(at, (trade, documents))| agent(seed, &format!("agent {at}"), trade, EPISODES, documents))
        .collect()
}

/// An agent that comes while life goes on.
pub(super) fn later_agent(seed: Seed, step: u64) -> Agent {
    let mut draw = seed.draw(&format!("trade {step}"));
    let at = usize::try_from(draw.below(LATER_TRADES.len() as u64)).unwrap_or(0);
    let [fallback, ..] = &LATER_TRADES;
    agent(seed, &format!("later agent {step}"), LATER_TRADES.get(at).unwrap_or(fallback), 40, 10)
}

/// What the agent named `agent` did next; episodes of different names differ.
pub(super) fn later_episodes(seed: Seed, name: &str, agent: &str, count: usize) -> Vec<Episode> {
    let mut draw = seed.draw(name);
    (0..count).map(|at| episode(&mut draw, trade_of(agent), EPISODES + at)).collect()
}

/// A document that comes while life goes on, or the new text of one.
pub(super) fn later_document(seed: Seed, name: &str, agent: &str) -> Document {
    document(seed, name, trade_of(agent), 1)
}

fn agent(seed: Seed, name: &str, trade: &Trade, episodes: usize, documents: usize) -> Agent {
    let mut draw = seed.draw(name);
    let id = format!("{:08x}", draw.number() >> 32);
    let procedures = (0..PROCEDURES).map(|at| procedure(&mut draw, trade, at)).collect();
    let episodes = (0..episodes).map(|at| episode(&mut draw, trade, at)).collect();
    let documents =
        (0..documents).map(|at| document(seed, &format!("{name} document {at}"), trade, 1)).collect();
    let (name, model) = (trade.name.to_owned(), chosen(&mut draw, MODELS));
    Agent { id, name, model, created_at: day(0), procedures, episodes, documents }
}

fn procedure(draw: &mut Draw, trade: &Trade, at: usize) -> Procedure {
    let topic = trade.topics.get(at).copied().unwrap_or(trade.name);
    let steps: Vec<String> = (1..=4).map(|n| format!("{n}. {}", sentence(draw, trade, topic))).collect();
    Procedure {
        name: format!("How to handle {topic}"),
        body: steps.join("\n"),
        updated_at: day(at) + Duration::minutes(draw.below(600).cast_signed()),
    }
}

fn episode(draw: &mut Draw, trade: &Trade, at: usize) -> Episode {
    let (thing, deed) = (chosen(draw, trade.things), chosen(draw, trade.deeds));
    let (place, remark) = (chosen(draw, PLACES), chosen(draw, REMARKS));
    let count = draw.below(60) + 2;
    Episode {
        started_at: day(0) + Duration::minutes(37 * i64::try_from(at).unwrap_or(0)),
        summary: format!("{deed} {count} {thing} from {place} in batch {}; {remark}.", 1000 + at),
        outcome: chosen(draw, OUTCOMES),
    }
}

fn document(seed: Seed, name: &str, trade: &Trade, version: i32) -> Document {
    let mut draw = seed.draw(name);
    let topic = chosen(&mut draw, trade.topics);
    let place = chosen(&mut draw, PLACES);
    let number = draw.below(9000) + 1000;
    let chunks = (0..CHUNKS).map(|_| {
        let two = [sentence(&mut draw, trade, topic), sentence(&mut draw, trade, topic)];
        two.join(" ")
    });
    Document {
        id: seed.uuid(name),
        chunks: chunks.collect(),
        title: format!("{topic} in {place}, note {number}"),
        version,
        updated_at: day(1) + Duration::minutes(draw.below(20_000).cast_signed()),
    }
}

fn sentence(draw: &mut Draw, trade: &Trade, topic: &str) -> String {
    let number = (draw.below(9000) + 1000).to_string();
    let text = chosen(draw, SENTENCES)
        .replace("{topic}", topic)
        .replace("{thing}", chosen(draw, trade.things))
        .replace("{deed}", chosen(draw, trade.deeds))
        .replace("{place}", chosen(draw, PLACES))
        .replace("{n}", &number);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn trade_of(agent: &str) -> &'static Trade {
    let [fallback, ..] = &FIRST_TRADES;
    FIRST_TRADES.iter().chain(&LATER_TRADES).find(|trade| trade.name == agent).unwrap_or(fallback)
}

fn chosen<'a, const N: usize>(draw: &mut Draw, choices: [&'a str; N]) -> &'a str {
    draw.one_of(&choices)
}

/// Eight in the morning, so many days after this Octopus was set up.
fn day(days: usize) -> NaiveDateTime {
    let start = NaiveDate::from_ymd_opt(2026, 1, 5).unwrap_or_default();
    start.and_time(NaiveTime::from_hms_opt(8, 0, 0).unwrap_or_default())
        + Duration::days(i64::try_from(days).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_first_agents_are_many_enough_and_told_the_same_again() {
        let agents = first_agents(Seed(7));
        assert_eq!(agents, first_agents(Seed(7)));
        assert_ne!(agents, first_agents(Seed(8)));
        let sum = |of: fn(&Agent) -> usize| agents.iter().map(of).sum::<usize>();
        assert!(agents.len() >= 6 && sum(|agent| agent.procedures.len()) >= 24);
        assert!(sum(|agent| agent.episodes.len()) >= 5000);
        let chunks =
            |agent: &&Agent| agent.documents.iter().map(|one| one.chunks.len()).sum::<usize>() >= 2000;
        assert!(agents.iter().filter(chunks).count() >= 3);
        let ids: BTreeSet<_> = agents.iter().flat_map(|agent| &agent.documents).map(|one| one.id).collect();
        assert_eq!(ids.len(), DOCUMENTS.iter().sum::<usize>(), "no id twice");
        assert_eq!(agents.iter().map(|agent| &agent.id).collect::<BTreeSet<_>>().len(), agents.len());
    }
}
