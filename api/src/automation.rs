//! How much a model may decide by itself.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much the model decides, and when a person does. Not part of the revision: a change applies to the next request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.level == 'partial') == has(self.deferBelow)")
        .message("automation.deferBelow: belongs to level partial, and must be there with it")
)]
pub struct Automation {
    /// Who decides.
    pub level: AutomationLevel,
    /// With `partial`: answers of less confidence say `"decision": "defer"`, and wait for a person's label, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub defer_below: Option<f64>,
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AutomationLevel {
    /// The model.
    Full,
    /// The model where it is sure enough, else a person.
    Partial,
    /// A person, who sees what the model says and where it looks.
    Assist,
    /// A person; what the model says is recorded beside, to see how often both agree.
    Shadow,
}

impl Automation {
    /// As routers pass it on.
    #[must_use]
    pub fn to_wire(&self) -> wire::Automation {
        match self.level {
            AutomationLevel::Full => wire::Automation::Full,
            AutomationLevel::Partial => wire::Automation::Partial(self.defer_below.unwrap_or(1.0)),
            AutomationLevel::Assist => wire::Automation::Assist,
            AutomationLevel::Shadow => wire::Automation::Shadow,
        }
    }
}
