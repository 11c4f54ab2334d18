//! Where the model looks: asked of a server or a router, and passed on as data.

use std::sync::Arc;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, gone, id_of};
use crate::http::Problem;
use crate::review::Found;

/// Largest explanation, in bytes.
const EXPLANATION: usize = 8 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    class: Option<String>,
}

/// Asks where the model looks. Which revision answers is its router's choice; the answer names it.
pub(super) async fn explain(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(Seen { class }): Query<Seen>,
) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    let Some(address) = &app.doors.explain else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "nobody explains here: the process has no --explain",
        ));
    };
    match app.desk.find(&id).await? {
        None => return Err(gone()),
        Some(Found::Waiting(item)) if item.is_blind() => {
            let message = "a person decides about it without the model";
            return Err(Problem::new(StatusCode::FORBIDDEN, message));
        }
        Some(_) => {}
    }
    let Ok(_place) = app.explaining.try_acquire() else {
        return Err(Problem::busy("too many images are being explained"));
    };
    let image = app.desk.image(&id).await?;
    let query = class.map_or(String::new(), |class| format!("?class={}", encoded(&class)));
    let body = json!({"image": STANDARD.encode(&image)}).to_string();
    drop(image);
    let called =
        app.caller.post(&address.at(&format!("/explain{query}")), None, body.into(), EXPLANATION).await;
    let called = called.map_err(|error| Problem::new(StatusCode::BAD_GATEWAY, error.to_string()))?;
    // Whatever comes, it goes on as data.
    let Ok(told) = serde_json::from_slice::<Value>(&called.body) else {
        let message = format!("{address} answers {} without JSON", called.status);
        return Err(Problem::new(StatusCode::BAD_GATEWAY, message));
    };
    let is_known = called.status == StatusCode::OK || called.status.is_client_error();
    let status = if is_known { called.status } else { StatusCode::BAD_GATEWAY };
    // Its 401 would be taken for one of ours.
    let status = if status == StatusCode::UNAUTHORIZED { StatusCode::BAD_GATEWAY } else { status };
    Ok((status, Json(told)).into_response())
}

/// A value of a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
