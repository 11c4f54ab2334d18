//! What a team changes of the pods that model servers and routers run in.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A partial pod template: `metadata` and `spec` as in a Deployment's. Its fields are those of the cluster, which may
/// have more than this release knows, so that the definition lists none: the operator checks what it owns, the API
/// server the rest, before a rollout begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodOverlay(pub Map<String, Value>);

impl JsonSchema for PodOverlay {
    fn schema_name() -> Cow<'static, str> {
        "PodOverlay".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// `resources` of a container. The same as Kubernetes has it, without its texts: its explanation of a quantity alone takes
/// 2.5 KiB, and stands there four times.
pub(crate) fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantities = json_schema!({
        "type": "object",
        "additionalProperties": {"x-kubernetes-int-or-string": true},
    });
    json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "limits": quantities,
            "requests": quantities,
            "claims": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}, "request": {"type": "string"}},
                },
            },
        },
    })
}
