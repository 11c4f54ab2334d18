//! Strategies as stages (design §5): what is written becomes a program for one small machine.

use std::time::Duration;

use api::{AbTest, Bandit, BlueGreen, Canary, Challenger, Measure, Shadow, Step, Strategy, SwitchStep};
use evidence::experiment::{Direction, ExperimentError};
use evidence::{BanditError, Rewards, Trial};
use rollout::{Limit, OnLimit, OnLose, OnWin, Stage, Then, Until};

use super::{Invalid, Labels, invalid, signed};
use crate::sampler::Contest;

/// Probability of a wrong win, and of a wrong loss.
const SIGNIFICANCE: f64 = 0.05;
/// Share of an arm of a bandit, in percent, at least.
const FLOOR: u8 = 5;
/// Most by which its share changes in an interval, in percent.
const STEP: u8 = 10;
/// Probability of being the best at which an arm leads.
const STOP_AT: f64 = 0.95;

/// A strategy that can be carried out.
#[derive(Debug, Default)]
pub(super) struct Compiled<'a> {
    pub(super) stages: Vec<Stage>,
    pub(super) then: Then,
    /// Whether a first deployment goes through the stages as well.
    pub(super) alone: bool,
    /// How long the old revision is kept, where the strategy says so.
    pub(super) keep_warm: Option<Duration>,
    pub(super) challengers: &'a [Challenger],
    /// What candidates compete by.
    pub(super) contest: Option<Contest>,
}

/// Compiles a strategy.
pub(super) fn compile(strategy: &Strategy, labels: Labels) -> Result<Compiled<'_>, Invalid> {
    let Strategy { canary, blue_green, shadow, ab_test, bandit } = strategy;
    let mut all = Vec::new();
    all.extend(canary.as_ref().map(self::canary));
    all.extend(blue_green.as_ref().map(self::blue_green));
    all.extend(shadow.as_ref().map(self::shadow));
    all.extend(ab_test.as_ref().map(|test| self::ab_test(test, labels)));
    all.extend(bandit.as_ref().map(|bandit| self::bandit(bandit, labels)));
    let found = match all.len() {
        1 => return all.remove(0),
        0 => "no strategy".to_owned(),
        n => format!("{n} strategies"),
    };
    Err(invalid("spec.strategy", found, "set exactly one of canary, blueGreen, shadow, abTest, bandit"))
}

fn canary(canary: &Canary) -> Result<Compiled<'_>, Invalid> {
    const STEPS: &str = "spec.strategy.canary.steps";
    let mut weights = Vec::new();
    for (i, step) in canary.steps.iter().enumerate() {
        match (step.weight, step.shadow) {
            (Some(weight), None) => weights.push((i, weight)),
            (None, Some(1..=100)) if weights.is_empty() => {}
            (None, Some(1..=100)) => {
                let found = "a shadow step after a weight";
                return Err(invalid(format!("{STEPS}[{i}]"), found, "shadow steps come first"));
            }
            (None, Some(percent)) => {
                let field = format!("{STEPS}[{i}].shadow");
                return Err(invalid(field, percent.to_string(), "must be within 1 and 100"));
            }
            _ => {
                let found =
                    if step.weight.is_some() { "weight and shadow" } else { "neither weight nor shadow" };
                return Err(invalid(format!("{STEPS}[{i}]"), found, "set exactly one of weight, shadow"));
            }
        }
    }
    rising(STEPS, &weights)?;
    let limit = limit(canary.max_stage_duration, canary.on_inconclusive);
    let accept = canary.advance == Some(api::Advance::OnEvidence);
    let stages = canary.steps.iter().map(|step| Stage { limit, accept, ..self::step(step) });
    Ok(Compiled { stages: stages.collect(), ..Compiled::default() })
}

fn step(step: &Step) -> Stage {
    Stage {
        weight: step.weight.unwrap_or(0),
        mirror: step.shadow.unwrap_or(0),
        hold: time(step.hold),
        min_requests: step.min_requests.unwrap_or(0),
        approval: step.approval.unwrap_or(false),
        ..Stage::default()
    }
}

fn blue_green(strategy: &BlueGreen) -> Result<Compiled<'_>, Invalid> {
    let limit = limit(strategy.max_stage_duration, strategy.on_inconclusive);
    let preview = strategy.preview.as_ref();
    // All pods are there before anybody is switched to them.
    let green = Stage { capacity: 100, limit, ..Stage::default() };
    let mut stages = vec![Stage {
        preview: true,
        hold: time(preview.and_then(|p| p.hold)),
        min_requests: preview.and_then(|p| p.min_requests).unwrap_or(0),
        approval: strategy.auto_promote == Some(false),
        ..green
    }];
    let gradual = strategy.switch.as_ref().and_then(|s| s.gradual.as_ref());
    let steps: &[SwitchStep] = gradual.map_or(&[], |g| &g.steps);
    let weights: Vec<(usize, u8)> = steps.iter().map(|s| s.weight).enumerate().collect();
    rising("spec.strategy.blueGreen.switch.gradual.steps", &weights)?;
    stages.extend(steps.iter().map(|s| Stage { weight: s.weight, hold: time(s.hold), ..green }));
    Ok(Compiled { stages, keep_warm: strategy.keep_blue.map(api::Duration::get), ..Compiled::default() })
}

fn shadow(shadow: &Shadow) -> Result<Compiled<'_>, Invalid> {
    if !(1..=100).contains(&shadow.percent) {
        let found = shadow.percent.to_string();
        return Err(invalid("spec.strategy.shadow.percent", found, "must be within 1 and 100"));
    }
    let stage = Stage {
        mirror: shadow.percent,
        hold: time(shadow.hold),
        min_requests: shadow.min_requests.unwrap_or(0),
        limit: limit(shadow.max_stage_duration, shadow.on_inconclusive),
        ..Stage::default()
    };
    let then = match shadow.then {
        Some(api::Then::Promote) => Then::Promote,
        Some(api::Then::Report) | None => Then::Report,
    };
    Ok(Compiled { stages: vec![stage], then, alone: true, ..Compiled::default() })
}

fn ab_test(test: &AbTest, labels: Labels) -> Result<Compiled<'_>, Invalid> {
    let trial = trial(test)?;
    if trial.measure == evidence::Measure::Accuracy {
        labels.drawn_one_by_one("spec.strategy.abTest.hypothesis.metric")?;
    }
    room("spec.strategy.abTest.weight", test.weight, test.challengers.len() + 1)?;
    let on_win = match test.on_win {
        Some(api::OnWin::Hold) => OnWin::Hold,
        Some(api::OnWin::Promote) | None => OnWin::Promote,
    };
    let on_lose = match test.on_lose {
        Some(api::OnLose::Hold) => OnLose::Hold,
        Some(api::OnLose::Rollback) | None => OnLose::Rollback,
    };
    let then = match test.on_undecided {
        Some(api::OnUndecided::Promote) => OnLimit::Promote,
        Some(api::OnUndecided::Hold) => OnLimit::Hold,
        Some(api::OnUndecided::Rollback) | None => OnLimit::Rollback,
    };
    let stage = Stage {
        weight: test.weight,
        limit: Some(Limit { after: test.max_duration.get(), then }),
        until: Until::Shown { on_win, on_lose },
        ..Stage::default()
    };
    let contest = Some(Contest::Trial(trial));
    Ok(Compiled { stages: vec![stage], challengers: &test.challengers, contest, ..Compiled::default() })
}

fn trial(test: &AbTest) -> Result<Trial, Invalid> {
    let written = &test.hypothesis;
    // Each candidate is tested, and tested anew whenever another one has gone, because shares change then. All of
    // these tests together keep what is promised of one.
    let candidates = (test.challengers.len() + 1) as f64;
    let tests = candidates * (candidates + 1.0) / 2.0;
    let trial = Trial {
        measure: measure(written.metric),
        direction: match written.direction {
            api::Direction::Increase => Direction::Increase,
            api::Direction::Decrease => Direction::Decrease,
        },
        minimum_effect: written.minimum_effect,
        significance: written.significance.unwrap_or(SIGNIFICANCE) / tests,
    };
    let refused =
        |error: ExperimentError| invalid("spec.strategy.abTest.hypothesis", error.to_string(), "change it");
    trial.check().map_err(refused)?;
    Ok(trial)
}

fn bandit(bandit: &Bandit, labels: Labels) -> Result<Compiled<'_>, Invalid> {
    if bandit.reward == Measure::Accuracy {
        labels.taken("spec.strategy.bandit.reward")?;
    }
    let floor = bandit.floor.unwrap_or(FLOOR);
    // Stable is an arm as well.
    room("spec.strategy.bandit.floor", floor, bandit.challengers.len() + 2)?;
    let stage = Stage {
        weight: floor,
        limit: bandit.max_duration.map(|after| Limit { after: after.get(), then: OnLimit::Rollback }),
        until: Until::Best,
        ..Stage::default()
    };
    let rewards = Rewards {
        measure: measure(bandit.reward),
        floor: floor.into(),
        max_step: bandit.max_step.unwrap_or(STEP).into(),
        half_life: bandit.half_life.map(signed),
        stop_at: bandit.stop_at.unwrap_or(STOP_AT),
    };
    let refused = |error: BanditError| invalid("spec.strategy.bandit", error.to_string(), "change it");
    rewards.check(bandit.challengers.len() + 2).map_err(refused)?;
    let contest = Some(Contest::Rewards(rewards));
    Ok(Compiled { stages: vec![stage], challengers: &bandit.challengers, contest, ..Compiled::default() })
}

const fn measure(measure: Measure) -> evidence::Measure {
    match measure {
        Measure::SuccessRate => evidence::Measure::SuccessRate,
        Measure::HighConfidence => evidence::Measure::HighConfidence,
        Measure::Accuracy => evidence::Measure::Accuracy,
    }
}

/// Whether so many arms of this share leave something.
fn room(field: &str, share: u8, arms: usize) -> Result<(), Invalid> {
    if share > 0 && usize::from(share) * arms < 100 {
        return Ok(());
    }
    let most = 99 / arms.max(1);
    Err(invalid(
        field,
        share.to_string(),
        format!("must be within 1 and {most} for {arms} arms that each get it"),
    ))
}

fn rising(field: &str, weights: &[(usize, u8)]) -> Result<(), Invalid> {
    let mut below = 0;
    for (i, weight) in weights {
        let field = format!("{field}[{i}].weight");
        if !(1..=99).contains(weight) {
            return Err(invalid(field, weight.to_string(), "must be within 1 and 99"));
        }
        if *weight <= below {
            let allowed = format!("must be above {below}, that of the step before");
            return Err(invalid(field, weight.to_string(), allowed));
        }
        below = *weight;
    }
    Ok(())
}

fn limit(after: Option<api::Duration>, then: Option<api::OnInconclusive>) -> Option<Limit> {
    let then = match then {
        Some(api::OnInconclusive::Promote) => OnLimit::Promote,
        Some(api::OnInconclusive::Rollback) => OnLimit::Rollback,
        Some(api::OnInconclusive::Hold) | None => OnLimit::Hold,
    };
    after.map(|after| Limit { after: after.get(), then })
}

fn time(written: Option<api::Duration>) -> Duration {
    written.map_or(Duration::ZERO, api::Duration::get)
}

#[cfg(test)]
mod tests;
