//! Log lines on stderr, as people or as machines read them.

use tracing_subscriber::EnvFilter;

/// Environment variable with the filter, for example `info,model_server=debug`; default `info`.
const FILTER: &str = "SLUICE_LOG";
/// Environment variable with the format: `plain` (default) or `json`.
const FORMAT: &str = "SLUICE_LOG_FORMAT";

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter does not parse.
    #[error("{FILTER}={found:?} is no log filter ({reason}); an example: info,hyper=warn")]
    Filter {
        /// What the variable holds.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The format is unknown.
    #[error("{FORMAT}={found:?} is no log format; allowed: plain, json")]
    Format {
        /// What the variable holds.
        found: String,
    },
    /// Another subscriber is installed.
    #[error("logging was already started in this process")]
    Twice,
}

/// Starts logging to stderr as `SLUICE_LOG` (filter) and `SLUICE_LOG_FORMAT` (`plain` or `json`) ask.
///
/// # Errors
/// If one of the variables cannot be read, or logging was started before.
pub fn init_tracing() -> Result<(), LoggingError> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let filter = parse_filter(variable(FILTER))?;
    let json = parse_format(variable(FORMAT).as_deref())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
    };
    started.map_err(|_| LoggingError::Twice)
}

fn parse_filter(found: Option<String>) -> Result<EnvFilter, LoggingError> {
    let text = found.unwrap_or_else(|| "info".to_owned());
    EnvFilter::try_new(&text).map_err(|error| LoggingError::Filter { found: text, reason: error.to_string() })
}

fn parse_format(found: Option<&str>) -> Result<bool, LoggingError> {
    match found {
        None | Some("plain") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(LoggingError::Format { found: other.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let message = parse_format(Some("xml")).unwrap_err().to_string();
        assert_eq!(message, "SLUICE_LOG_FORMAT=\"xml\" is no log format; allowed: plain, json");
        let message = parse_filter(Some("info=debug=trace".into())).unwrap_err().to_string();
        assert!(message.starts_with("SLUICE_LOG=\"info=debug=trace\" is no log filter"), "{message}");
        assert!(parse_format(Some("json")).unwrap() && !parse_format(None).unwrap());
    }
}
