//! Keeps credentials out of what is said.

use std::error::Error;
use std::sync::Arc;

/// Characters of what others say, at most.
const LENGTH: usize = 400;
/// Parts of names of variables whose values nobody may read.
const NAMES: [&str; 6] = ["SECRET", "KEY", "TOKEN", "SAS", "PASSWORD", "CREDENTIAL"];
/// A shorter value would blot out half of a sentence.
const SHORT: usize = 6;

/// The values that are never repeated. Clones share them.
#[derive(Clone)]
pub(crate) struct Secrets(Arc<Vec<String>>);

impl Secrets {
    /// Of these variables.
    pub(crate) fn of(variables: &[(String, String)]) -> Self {
        let is_secret = |name: &str| NAMES.iter().any(|part| name.to_ascii_uppercase().contains(part));
        let values = variables.iter().filter(|(name, value)| is_secret(name) && value.len() >= SHORT);
        Self(Arc::new(values.map(|(_, value)| value.clone()).collect()))
    }

    /// An error and its causes in one line, without secrets, without the queries of addresses (a signature may be one),
    /// and not longer than a sentence.
    pub(crate) fn clean(&self, error: &dyn Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = error.source();
        }
        self.clean_text(&text)
    }

    fn clean_text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.0.iter() {
            text = text.replace(secret.as_str(), "***");
        }
        let words: Vec<String> = text.split_whitespace().map(without_query).collect();
        words.join(" ").chars().take(LENGTH).collect()
    }
}

/// A word, without what follows the `?` of an address.
fn without_query(word: &str) -> String {
    match word.split_once("://").and_then(|(_, rest)| rest.split_once('?')) {
        Some((_, query)) => format!("{}***", &word[..word.len() - query.len()]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Secrets::of(
            &[("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"), ("AWS_REGION", "eu-west-1"), ("A_TOKEN", "x")]
                .map(pair),
        )
    }

    #[test]
    fn neither_values_nor_queries_are_repeated() {
        let said = "GET https://a.example/c?sv=1&sig=abc%3D failed\n  with hunter2hunter2 in eu-west-1, x";
        assert_eq!(secrets().clean_text(said), "GET https://a.example/c?*** failed with *** in eu-west-1, x");
    }

    #[test]
    fn a_page_of_html_is_cut() {
        assert_eq!(secrets().clean_text(&"<p>".repeat(1000)).len(), LENGTH);
    }
}
