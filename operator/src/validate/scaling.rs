//! What the number of model servers follows.

use std::ops::RangeInclusive;
use std::time::Duration;

use api::Autoscaling;

use super::{Invalid, invalid};
use crate::scaling::Settings;

const MIN: u32 = 1;
const SCALE_OUT: Duration = Duration::from_secs(60);
const SCALE_IN: Duration = Duration::from_secs(300);

/// Reads and checks it.
pub(super) fn settings(written: &Autoscaling) -> Result<Settings, Invalid> {
    let Autoscaling { min, max, target, scale_out_cooldown, scale_in_cooldown, suspended } = written;
    let (min, max, target) = (min.unwrap_or(MIN), *max, target.requests_per_replica);
    if max > Settings::MOST {
        return Err(invalid("spec.autoscaling.max", max.to_string(), "must be within 1 and 1000"));
    }
    if min == 0 || min > max {
        let allowed = format!("must be within 1 and spec.autoscaling.max, which is {max}");
        return Err(invalid("spec.autoscaling.min", min.to_string(), allowed));
    }
    if !(target > 0.0 && target <= 1e6) {
        let field = "spec.autoscaling.target.requestsPerReplica";
        return Err(invalid(field, target.to_string(), "must be above 0 and at most 1000000"));
    }
    let time =
        |written: &Option<api::Duration>, default: Duration| written.map_or(default, api::Duration::get);
    let (out, back) = (time(scale_out_cooldown, SCALE_OUT), time(scale_in_cooldown, SCALE_IN));
    within("spec.autoscaling.scaleOutCooldown", out, Duration::ZERO..=Duration::from_secs(3600))?;
    within(
        "spec.autoscaling.scaleInCooldown",
        back,
        Duration::from_secs(1)..=Duration::from_secs(24 * 3600),
    )?;
    Ok(Settings { min, max, target, scale_out: out, scale_in: back, suspended: *suspended })
}

fn within(field: &str, found: Duration, allowed: RangeInclusive<Duration>) -> Result<(), Invalid> {
    if allowed.contains(&found) {
        return Ok(());
    }
    let allowed = format!("must be within {:?} and {:?}", allowed.start(), allowed.end());
    Err(invalid(field, format!("{found:?}"), allowed))
}
