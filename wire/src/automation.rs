//! How much a model may decide by itself: said by the ModelDeployment, passed on by routers with each request, obeyed by
//! model servers.

use std::fmt;
use std::str::FromStr;

/// The header of requests. A client's own is not passed on by routers.
pub const HEADER: &str = "x-sluice-automation";

/// How much a model decides.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Automation {
    /// All.
    #[default]
    Full,
    /// What it is sure of: less confidence than this, in 0..=1, and a person decides.
    Partial(f64),
    /// Nothing: a person decides and sees what the model says.
    Assist,
    /// Nothing: a person decides without seeing what the model says, which is recorded to be compared.
    Shadow,
}

/// Who decides about one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The model.
    Auto,
    /// A person: the model is not sure enough.
    Defer,
    /// A person, with the model's help.
    Assist,
    /// A person, without the model.
    Human,
}

impl Automation {
    /// Who decides about an answer of this confidence; a null output has none.
    #[must_use]
    pub fn decide(self, confidence: Option<f64>) -> Decision {
        match self {
            Self::Full => Decision::Auto,
            // Not `<`: a confidence that is no number is none.
            Self::Partial(below) if confidence.is_some_and(|c| c >= below) => Decision::Auto,
            Self::Partial(_) => Decision::Defer,
            Self::Assist => Decision::Assist,
            Self::Shadow => Decision::Human,
        }
    }
}

impl Decision {
    /// As answers spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Defer => "defer",
            Self::Assist => "assist",
            Self::Human => "human",
        }
    }
}

/// What cannot be read as an [`Automation`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("allowed: full, partial <0..=1>, assist, shadow")]
pub struct AutomationError;

impl FromStr for Automation {
    type Err = AutomationError;

    fn from_str(text: &str) -> Result<Self, AutomationError> {
        match text.split_once(' ') {
            None if text == "full" => Ok(Self::Full),
            None if text == "assist" => Ok(Self::Assist),
            None if text == "shadow" => Ok(Self::Shadow),
            Some(("partial", below)) => {
                let below: f64 = below.parse().map_err(|_| AutomationError)?;
                if (0.0..=1.0).contains(&below) { Ok(Self::Partial(below)) } else { Err(AutomationError) }
            }
            _ => Err(AutomationError),
        }
    }
}

impl fmt::Display for Automation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Partial(below) => write!(f, "partial {below}"),
            Self::Assist => f.write_str("assist"),
            Self::Shadow => f.write_str("shadow"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_writes_and_nothing_else() {
        for automation in [
            Automation::Full,
            Automation::Partial(0.7),
            Automation::Partial(0.0),
            Automation::Assist,
            Automation::Shadow,
        ] {
            assert_eq!(automation.to_string().parse(), Ok(automation));
        }
        for wrong in
            ["", "Full", "partial", "partial 1.1", "partial -0.1", "partial NaN", "partial 0.5 ", "full 1"]
        {
            assert_eq!(wrong.parse::<Automation>(), Err(AutomationError), "{wrong}");
        }
    }

    #[test]
    fn who_is_not_sure_defers() {
        let partial = Automation::Partial(0.7);
        for (confidence, decision) in [
            (Some(0.7), Decision::Auto),
            (Some(0.699), Decision::Defer),
            (Some(f64::NAN), Decision::Defer),
            (None, Decision::Defer),
        ] {
            assert_eq!(partial.decide(confidence), decision, "{confidence:?}");
        }
        assert_eq!(Automation::Full.decide(None), Decision::Auto);
        assert_eq!(Automation::Shadow.decide(Some(1.0)), Decision::Human);
        assert_eq!(Automation::Assist.decide(Some(1.0)), Decision::Assist);
    }
}
