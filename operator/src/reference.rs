//! `docs/reference.md`, made from the definitions, so that it cannot say anything else than the API server.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};

const HEAD: &str = "# Reference

Made by `hack/crds` from the types in `api/`; do not edit. A field that is not in a table here is dropped by the API
server without a word unless the client is strict (`kubectl apply` is).
";

/// The reference of all definitions, as Markdown.
#[must_use]
pub fn reference(definitions: &[CustomResourceDefinition]) -> String {
    let mut out = HEAD.to_owned();
    for definition in definitions {
        let names = &definition.spec.names;
        let short = names.short_names.iter().flatten().next().map_or("", String::as_str);
        out += &format!(
            "\n## {}\n\n`{}.{}`, short name `{short}`.",
            names.kind, names.plural, definition.spec.group
        );
        let versions = definition.spec.versions.iter();
        for schema in versions.filter_map(|v| v.schema.as_ref()?.open_api_v3_schema.as_ref()) {
            out += &format!(" {}\n", text(schema));
            for (part, inner) in schema.properties.iter().flatten().filter(|(name, _)| is_ours(name)) {
                out += &format!("\n### {} {part}\n\n| field | type | |\n|---|---|---|\n", names.kind);
                fields(inner, "", &mut out);
                rules(inner, &mut out);
            }
        }
    }
    out
}

fn is_ours(name: &str) -> bool {
    matches!(name, "spec" | "status")
}

fn fields(schema: &JSONSchemaProps, path: &str, out: &mut String) {
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let items = items(field);
        let list = if items.is_some() { "[]" } else { "" };
        let path = format!("{path}{name}{list}");
        let must = if required.contains(name) { ", required" } else { "" };
        let kind = match items.filter(|items| items.enum_.is_some()) {
            Some(items) => kind(items),
            None => kind(field),
        };
        *out += &format!("| `{path}` | {kind}{must} | {} |\n", text(field).replace('|', "\\|"));
        // Kubernetes' own types are described in its own reference.
        if name != "resources" && name != "conditions" {
            fields(items.unwrap_or(field), &format!("{path}."), out);
        }
    }
}

fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(schema) => Some(schema),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

fn kind(schema: &JSONSchemaProps) -> String {
    let mut kind = schema.type_.clone().unwrap_or_else(|| "any".into());
    if let Some(values) = &schema.enum_ {
        let values: Vec<String> = values.iter().map(|v| v.0.to_string().replace('"', "`")).collect();
        kind = values.join(" ");
    }
    match (schema.minimum, schema.maximum) {
        (Some(min), Some(max)) => kind += &format!(" {min}..={max}"),
        (Some(min), None) => kind += &format!(" >= {min}"),
        _ => {}
    }
    if let Some(default) = &schema.default {
        kind += &format!(" = {}", default.0);
    }
    kind
}

fn text(schema: &JSONSchemaProps) -> String {
    schema.description.clone().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every message that the API server can refuse an object with.
fn rules(schema: &JSONSchemaProps, out: &mut String) {
    let mut messages = Vec::new();
    collect(schema, &mut messages);
    if !messages.is_empty() {
        *out += "\nRefused with:\n\n";
        messages.iter().for_each(|m| *out += &format!("- {m}\n"));
    }
}

fn collect(schema: &JSONSchemaProps, messages: &mut Vec<String>) {
    let rules = schema.x_kubernetes_validations.iter().flatten();
    messages.extend(rules.filter_map(|r| r.message.clone()));
    let below = schema.properties.iter().flat_map(|p| p.values()).chain(items(schema));
    below.for_each(|s| collect(s, messages));
}
