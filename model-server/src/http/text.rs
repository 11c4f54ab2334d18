//! What a client sent, in messages.

/// Something a client sent, fit for a message.
pub(super) fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

/// What is wrong with a body that should be JSON. What serde says is cut: it may quote what the client sent.
pub(super) fn not_json(error: &serde_json::Error) -> String {
    let reason: String = error.to_string().chars().take(200).collect();
    format!("the body is not the JSON that was expected: {reason}")
}

/// Reads JSON that is an object. serde would take a list for one as well, whose places are its fields.
pub(super) fn object<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    if json.trim_ascii_start().first().is_some_and(|first| *first == b'[') {
        return Err("the body is not the JSON that was expected: it is a list, allowed: an object".to_owned());
    }
    serde_json::from_slice(json).map_err(|error| not_json(&error))
}
