//! The custom resource definitions as YAML: `crds/` is this module's output.

use std::path::Path;

use api::{ModelDeployment, ModelRollout, ModelRoute};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Why the definitions cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// They cannot be written as YAML.
    #[error("{name} cannot be written as YAML")]
    Yaml {
        /// Name of the definition.
        name: String,
        /// Why.
        source: serde_yaml::Error,
    },
    /// The file cannot be written.
    #[error("{path} cannot be written")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The definitions that the operator needs.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [ModelDeployment::crd(), ModelRollout::crd(), ModelRoute::crd()]
}

/// File name and content per definition.
///
/// # Errors
/// When one cannot be written as YAML.
pub fn files() -> Result<Vec<(String, String)>, CrdError> {
    definitions()
        .iter()
        .map(|crd| {
            let name = format!("{}.yaml", crd.spec.names.plural);
            match serde_yaml::to_string(crd) {
                Ok(text) => Ok((name, text)),
                Err(source) => Err(CrdError::Yaml { name, source }),
            }
        })
        .collect()
}

/// All definitions as one YAML stream.
///
/// # Errors
/// When one cannot be written as YAML.
pub fn yaml() -> Result<String, CrdError> {
    Ok(files()?.into_iter().map(|(_, text)| format!("---\n{text}")).collect())
}

/// The definitions as a template of the chart: Helm never upgrades what lies in a chart's `crds/`. They are
/// kept on uninstall, because deleting a definition deletes every object of its kind.
///
/// # Errors
/// When one cannot be written as YAML.
pub fn chart() -> Result<String, CrdError> {
    const KEPT: &str = "metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n";
    let parts =
        files()?.into_iter().map(|(_, text)| format!("---\n{}", text.replacen("metadata:\n", KEPT, 1)));
    Ok(format!("{{{{- /* Made by hack/crds; do not edit. */}}}}\n{}", parts.collect::<String>()))
}

/// Writes one file per definition.
///
/// # Errors
/// When one cannot be written.
pub fn write(dir: &Path) -> Result<(), CrdError> {
    for (name, text) in files()? {
        let path = dir.join(name);
        std::fs::write(&path, text)
            .map_err(|source| CrdError::File { path: path.display().to_string(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The API server reads YAML 1.1, which takes these names for booleans; serde_yaml writes 1.2 and does not
    /// quote them.
    #[test]
    fn no_field_and_no_value_is_named_like_a_boolean() {
        fn check(path: &str, value: &Value) {
            let boolean = ["y", "n", "yes", "no", "on", "off", "true", "false"];
            let is_boolean = |name: &str| boolean.contains(&name.to_lowercase().as_str());
            match value {
                Value::Object(fields) => {
                    for (name, value) in fields {
                        assert!(!is_boolean(name), "{path}.{name}");
                        check(&format!("{path}.{name}"), value);
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| check(path, item)),
                Value::String(text) => assert!(!is_boolean(text), "{path}: {text}"),
                _ => {}
            }
        }
        for crd in definitions() {
            check(&crd.spec.names.kind, &serde_json::to_value(&crd).unwrap());
        }
    }

    /// Bytes of a definition, at most: a large one slows every client down (design §9).
    const LIMIT: usize = 100 * 1024;

    fn assert_committed(path: &str, text: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == text, "{path} is out of date: run hack/crds");
    }

    #[test]
    fn the_committed_definitions_are_these_and_small() {
        for (name, text) in files().unwrap() {
            assert_committed(&format!("crds/{name}"), &text);
            assert!(text.len() <= LIMIT, "crds/{name} has {} bytes, at most {LIMIT}", text.len());
        }
    }

    #[test]
    fn chart_and_reference_say_the_same() {
        assert_committed("charts/sluice/templates/crds.yaml", &chart().unwrap());
        assert_committed("docs/reference.md", &crate::reference::reference(&definitions()));
    }
}
