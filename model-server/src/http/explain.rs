//! `POST /explain`: what a model says of an image, and where it looks.
//!
//! The answer is no evidence, says so to routers, and is not in the prediction log.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use axum::extract::{Query, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use image::{ImageFormat, RgbImage};
use serde_json::json;

use super::asking::Asking;
use super::body::expect_type;
use super::paths::Named;
use super::text::{not_json, short};
use super::{NO_PREDICTION, Problem, Service, ask, base64};
use crate::Answer;
use crate::queue::{Order, Priority};
use crate::saliency::{Grid, picture};
use crate::served::{Identity, Served};

/// Classes that the answer lists.
const LISTED: usize = 5;

pub(super) async fn explain(
    State(service): State<Arc<Service>>,
    named: Named,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Result<Response, Problem> {
    expect_type(&request, "application/json")?;
    let served = service.find(&named).await?;
    let asking = Asking::of(request.headers())?;
    let as_png = wants_png(request.headers());
    let body = service.read_request(request, service.limits.body_bytes).await?;
    let asked = ask::read(&body.bytes, 1).map_err(|e| Problem::bad(not_json(&e)))?;
    drop(body);
    let (Some(text), None) = (asked.image, asked.images) else {
        return Err(Problem::bad("one image is explained at a time: {\"image\": base64}"));
    };
    let Ok(_place) = service.explaining.try_acquire() else {
        service.metrics.refused.with_label_values(&["explaining"]).inc();
        return Err(Problem::busy("too many images are being explained"));
    };
    let bytes = vec![base64::decode(text).map_err(Problem::bad)?];
    let contract = &served.metadata().preprocessing;
    let image = service.decode(contract, bytes, false, |_, image, _| image.clone()).await?.swap_remove(0);
    let Seen { answer, class, grid, drops } =
        service.look(&served, &asking, &image, query.get("class").map(String::as_str)).await?;
    let drawn = {
        let drops = drops.clone();
        tokio::task::spawn_blocking(move || png(&picture(&image, grid, &drops))).await
    };
    let png = drawn.map_err(|error| {
        tracing::error!(%error, "the drawing task is gone");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "drawing failed; the server's log says why")
    })?;
    if as_png {
        return Ok(([NO_PREDICTION], [(CONTENT_TYPE, "image/png")], png).into_response());
    }
    let Identity { metadata, revision, .. } = served.identity();
    let name = |class: usize| metadata.classes[class].as_str();
    let top = answer.top(LISTED).into_iter();
    let top = top.map(|(class, probability)| json!({"class": name(class), "probability": probability}));
    let told = json!({
        "prediction": answer.best.map(|(class, _)| name(class)),
        "confidence": answer.best.map(|(_, confidence)| confidence),
        "probabilities": top.collect::<Vec<_>>(),
        "class": name(class),
        "grid": grid,
        "drops": drops,
        "picture": format!("data:image/png;base64,{}", STANDARD.encode(png)),
        "version": metadata.version,
        "revision": revision,
    });
    Ok(([NO_PREDICTION], Json(told)).into_response())
}

fn wants_png(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.starts_with("image/png"))
}

/// Where a class was seen.
struct Seen {
    answer: Answer,
    class: usize,
    grid: Grid,
    /// By how much its probability falls when a cell is covered, row by row.
    drops: Vec<f64>,
}

impl Service {
    /// Asks the model about an image, and about the same with parts covered, behind those who wait for an answer.
    async fn look(
        &self,
        served: &Served,
        asking: &Asking,
        image: &RgbImage,
        class: Option<&str>,
    ) -> Result<Seen, Problem> {
        let metadata = served.metadata();
        let contract = &metadata.preprocessing;
        let answer = self.say(served, asking, contract.normalise(image), 1).await?.swap_remove(0);
        let class = match class {
            Some(name) => metadata.classes.iter().position(|class| class == name).ok_or_else(|| {
                Problem::bad(format!("class is {:?}, allowed: one of /model-info's classes", short(name)))
            })?,
            None => answer.best.map_or(0, |(class, _)| class),
        };
        let grid = Grid::of(image.width(), image.height());
        let mut drops = Vec::with_capacity(grid.cells());
        // Half of what a request may have: so much room is there for those who are not live.
        let most = self.limits.images.div_ceil(2);
        let mut covered = grid.covered(image).peekable();
        while covered.peek().is_some() {
            let part: Vec<RgbImage> = covered.by_ref().take(most).collect();
            let inputs: Vec<f32> = part.iter().flat_map(|image| contract.normalise(image)).collect();
            for without in self.say(served, asking, inputs, part.len()).await? {
                drops.push(answer.probabilities[class] - without.probabilities[class]);
            }
        }
        Ok(Seen { answer, class, grid, drops })
    }

    async fn say(
        &self,
        served: &Served,
        asking: &Asking,
        inputs: Vec<f32>,
        images: usize,
    ) -> Result<Vec<Answer>, Problem> {
        let deadline = asking.deadline();
        let order = Order { inputs, images, priority: Priority::Shadow, deadline };
        Ok(served.ask(order).await?.answers)
    }
}

fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(vec![]);
    image.write_to(&mut bytes, ImageFormat::Png).expect("8-bit RGB is a PNG, and memory takes it");
    bytes.into_inner()
}
