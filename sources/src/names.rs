//! The files of an artefact, and what a file from elsewhere may be called.

/// The description of an artefact.
pub const METADATA: &str = "metadata.json";
/// The reference profile of an artefact.
pub const REFERENCE: &str = "reference.json";
/// The picture of a training; an artefact can do without.
pub const PICTURE: &str = "training_progress.png";
/// The names that a model can have, in the order in which they are asked for.
pub const MODELS: [&str; 4] = ["model.pt", "model.safetensors", "model.pth", "model.onnx"];

/// Bytes of one name between slashes, at most: what file systems take.
const NAME: usize = 255;
/// Bytes of a path, at most.
const PATH: usize = 1024;
/// Names of a path, at most.
const DEPTH: usize = 16;

/// A path that no file of an artefact may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a file is called {found:?}, {allowed}")]
pub struct NameError {
    /// The path, cut to 200 characters.
    pub found: String,
    /// What is wrong with it.
    pub allowed: &'static str,
}

/// Checks a path within an artefact: relative, with `/` between its names, none of which is empty, hidden, `.` or `..`.
///
/// # Errors
/// Says what is not allowed.
pub fn check(path: &str) -> Result<(), NameError> {
    let wrong = |allowed| Err(NameError { found: path.chars().take(200).collect(), allowed });
    if path.is_empty() || path.len() > PATH {
        return wrong("allowed: 1..=1024 bytes");
    }
    if path.starts_with('/') {
        return wrong("allowed: paths within the artefact");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return wrong("allowed: no backslashes and no control characters");
    }
    let names: Vec<&str> = path.split('/').collect();
    if names.len() > DEPTH {
        return wrong("allowed: at most 15 folders deep");
    }
    for name in names {
        match name {
            "" => return wrong("allowed: no empty names"),
            "." | ".." => return wrong("allowed: no . or .."),
            _ if name.starts_with('.') => return wrong("allowed: no hidden files"),
            _ if name.len() > NAME => return wrong("allowed: at most 255 bytes between slashes"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("model.pt", None)]
    #[case("a/b-c_d/e.f", None)]
    #[case("ü/模型.pt", None)]
    #[case("", Some("1..=1024 bytes"))]
    #[case("/etc/passwd", Some("paths within the artefact"))]
    #[case("../x", Some("no . or .."))]
    #[case("a/../../x", Some("no . or .."))]
    #[case("a/./x", Some("no . or .."))]
    #[case("a//x", Some("no empty names"))]
    #[case("a/", Some("no empty names"))]
    #[case(".hidden", Some("no hidden files"))]
    #[case("a/.git/config", Some("no hidden files"))]
    #[case("a\\..\\b", Some("no backslashes"))]
    #[case("a\0b", Some("no control characters"))]
    #[case("a\nb", Some("no control characters"))]
    #[case(&"a/".repeat(16), Some("15 folders deep"))]
    #[case(&"n".repeat(256), Some("255 bytes"))]
    fn names_are_checked(#[case] path: &str, #[case] message: Option<&str>) {
        match (check(path), message) {
            (Ok(()), None) => {}
            (Err(error), Some(message)) => assert!(error.to_string().contains(message), "{error}"),
            (found, _) => panic!("{path:?}: {found:?}"),
        }
    }

    proptest! {
        #[test]
        fn what_passes_stays_within_the_folder(path in "[a./\\\\\\x00-\\x20]{0,12}") {
            if check(&path).is_ok() {
                let all = Path::new(&path).components();
                prop_assert!(all.into_iter().all(|part| matches!(part, Component::Normal(_))));
                // Nothing was folded away: the path is what it is called.
                prop_assert_eq!(Path::new(&path).components().count(), path.split('/').count());
            }
        }
    }
}
