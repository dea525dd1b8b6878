//! The embedding that Octopus uses: a bag of words and neighbouring pairs, hashed into 128 numbers, so that
//! a sentence finds the text with its words. Main function: [`embed`].

use std::collections::BTreeSet;

/// What agents call this embedding.
pub(super) const EMBEDDING_MODEL: &str = "bag-of-words-128";

/// Numbers in a vector.
pub(super) const DIMENSIONS: usize = 128;

/// Places that a word adds to: enough that two words rarely look alike.
const PLACES_A_WORD: u32 = 6;

/// Words that say nothing about what a text is about.
const STOP_WORDS: [&str; 28] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "did", "do", "for", "from", "how", "in", "is", "it",
    "of", "on", "or", "that", "the", "to", "was", "were", "what", "when", "which", "with",
];

/// The vector of a text; not normalised. Text without a word gets one that points nowhere in particular.
pub(super) fn embed(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSIONS];
    let words: Vec<String> = telling_words(text).collect();
    let pairs = words.windows(2).map(|pair| pair.join(" "));
    // A word counts once, however often it is said: what a text is about, not how long it dwells on it.
    let features: BTreeSet<String> = words.iter().cloned().chain(pairs).collect();
    for feature in features {
        let hash = fnv(feature.as_bytes());
        for place in 0..PLACES_A_WORD {
            let bits = hash.rotate_left(place * 10).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            let sign = if bits & 0x80 == 0 { 1.0 } else { -1.0 };
            if let Some(number) = vector.get_mut(usize::try_from(bits & 0x7F).unwrap_or(0)) {
                *number += sign;
            }
        }
    }
    if vector.iter().all(|number| *number == 0.0)
        && let Some(first) = vector.first_mut()
    {
        *first = 1.0;
    }
    vector
}

/// The words of a text that say what it is about, in lower case.
pub(super) fn telling_words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty() && !STOP_WORDS.contains(&word.as_str()))
}

/// FNV-1a over 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::octopus::story::first_agents;
    use crate::seed::Seed;

    fn nearness(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn a_sentence_finds_its_own_text_among_two_thousand() {
        let agents = first_agents(Seed(7));
        let chunks: Vec<&String> = agents[1].documents.iter().flat_map(|document| &document.chunks).collect();
        let vectors: Vec<_> = chunks.iter().map(|chunk| embed(chunk)).collect();
        for wanted in [0, 777, 1999] {
            let half: String = chunks[wanted].split_inclusive('.').next().unwrap().to_owned();
            let query = embed(&half);
            let best = (0..chunks.len())
                .max_by(|a, b| nearness(&query, &vectors[*a]).total_cmp(&nearness(&query, &vectors[*b])))
                .unwrap();
            assert_eq!(chunks[best], chunks[wanted], "{half}");
        }
    }

    #[test]
    fn case_and_small_words_do_not_count() {
        assert_eq!(embed("The clock drift in Cork"), embed("clock DRIFT, Cork!"));
        assert_ne!(embed("clock"), embed("cork"));
        assert_eq!(embed("of the").iter().sum::<f32>(), 1.0, "never a vector without a direction");
    }
}
