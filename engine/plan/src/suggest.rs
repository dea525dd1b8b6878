//! Did-you-mean: [`nearest`].

/// The candidate that the word was probably meant to be, if one is near: a slip or two, or the same letters in another order.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let length = word.chars().count();
    let folded = word.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            let longer = length.max(candidate.chars().count());
            *distance <= (longer / 3).clamp(1, 3) && *distance < length.min(candidate.chars().count())
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_suggested() {
        let words = ["needs", "when", "retry", "on_failure", "timeout"];
        for (word, expected) in [
            ("need", Some("needs")),
            ("wehn", Some("when")),
            ("on-failure", Some("on_failure")),
            ("timout", Some("timeout")),
            ("Retry", Some("retry")),
            ("colour", None),
            ("x", None),
            ("use", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }
}
