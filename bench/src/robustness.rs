//! B8: what faults of routers and operator leave of the evidence: less of it perhaps, but never a wrong number.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::{Counts, Profile};

use crate::family::settings;
use crate::runs::each;
use crate::simulated::Settings;
use crate::stage::{Operator, Router};
use crate::targets::Targets;
use crate::traffic::{Arm, Model, drawn};

/// Samplings of a run, of which one that is drawn from the middle has the fault.
const SAMPLINGS: usize = 40;
const MIDDLE: Range<usize> = 10..30;
/// Requests of each router between two samplings: each is enough for every metric, so that thresholds are checked as
/// often after a restart, when windows begin anew (C6), as without.
const REQUESTS: u64 = 1000;
const ROUTERS: usize = 2;
const SPLIT: f64 = 0.5;
const INTERVAL: u32 = 15;
const PROFILE: u64 = 1500;

/// What goes wrong once, with the first router or with the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    RouterRestart,
    LostPage,
    DuplicatedPage,
    LatePage,
    OperatorRestart,
    /// It had judged, and not written that down yet.
    OperatorKilled,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::RouterRestart,
        Self::LostPage,
        Self::DuplicatedPage,
        Self::LatePage,
        Self::OperatorRestart,
        Self::OperatorKilled,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::RouterRestart => "router restarts, counters at zero",
            Self::LostPage => "a page is lost",
            Self::DuplicatedPage => "a page comes twice",
            Self::LatePage => "an old page comes late",
            Self::OperatorRestart => "operator restarts",
            Self::OperatorKilled => "operator killed before it wrote",
        }
    }

    /// The samplings' traffic that counts at this one if the fault is at `fault`; `None` if nothing does (C4).
    fn counts(self, router: usize, sampling: usize, fault: usize) -> Option<Range<usize>> {
        let first = router == 0;
        let (here, next) = (sampling == fault, sampling == fault + 1);
        match self {
            Self::RouterRestart | Self::LatePage if first && here => None,
            // The page after the gap is a baseline.
            Self::LostPage if first && (here || next) => None,
            Self::DuplicatedPage if first && here => Some(fault..fault),
            // What was not seen then is seen now.
            Self::DuplicatedPage | Self::LatePage if first && next => Some(fault..fault + 2),
            Self::OperatorRestart if here => None,
            Self::OperatorKilled if here || sampling + 1 == fault => None,
            _ => Some(sampling..sampling + 1),
        }
    }
}

/// What both arms did, by sampling and router.
type Traffic = Vec<[[Counts; 2]; ROUTERS]>;

struct World<'a> {
    settings: &'a Settings,
    profiles: [&'a Profile; 2],
    traffic: &'a Traffic,
    fault: Fault,
    at: usize,
}

/// The table, `runs` runs per fault.
pub fn run(runs: u64, targets: &mut Targets) {
    println!(
        "\nB8  faults: {runs} runs of {SAMPLINGS} samplings of {ROUTERS} routers, metrics of design section 3"
    );
    println!(
        "    the judge's state as written, beside that of a run which is handed the true counts of what counts"
    );
    println!(
        "      fault                               identical  requests counted  unlike without the fault"
    );
    for fault in Fault::ALL {
        let found = each(runs, |seed| compare(fault, seed));
        let identical = found.iter().filter(|found| found.identical).count() as u64;
        let unlike = found.iter().filter(|found| found.unlike).count();
        let counted = 100.0 * found.iter().map(|found| found.counted).sum::<f64>() / runs as f64;
        let name = fault.name();
        println!("      {name:<35} {identical:>4}/{runs:<4} {counted:>15.1} % {unlike:>10}/{runs}");
        targets.line(name, &format!("{identical}/{runs} identical"), "all", identical == runs);
    }
}

struct Compared {
    identical: bool,
    /// Whether the state would be another one if nothing had gone wrong: else there is nothing to see.
    unlike: bool,
    /// Share of the requests.
    counted: f64,
}

fn compare(fault: Fault, seed: u64) -> Compared {
    let mut random = StdRng::seed_from_u64(seed);
    // A little worse, within all tolerances, so that evidence moves.
    let ours = Arm::new(Model { errors: 1.05 * Model::GOOD.errors, ..Model::GOOD });
    let theirs = Arm::new(Model::GOOD);
    let [candidate, stable] = [&ours, &theirs].map(|arm| arm.profile(&mut random, PROFILE));
    let traffic: Traffic = (0..SAMPLINGS)
        .map(|_| std::array::from_fn(|_| drawn(&mut random, REQUESTS, SPLIT, 1.0, [&ours, &theirs])))
        .collect();
    let settings = settings(INTERVAL);
    let profiles = [&candidate, &stable];
    let world =
        World { settings: &settings, profiles, traffic: &traffic, fault, at: random.random_range(MIDDLE) };
    let faulty = world.faulty();
    let (clean, requests) = world.clean(|router, sampling| fault.counts(router, sampling, world.at));
    let (whole, all) = world.clean(|_, sampling| Some(sampling..sampling + 1));
    Compared { identical: faulty == clean, unlike: faulty != whole, counted: requests as f64 / all as f64 }
}

impl World<'_> {
    /// The state in the end, from pages.
    fn faulty(&self) -> String {
        let mut operator = Operator::new(self.settings, self.profiles, SPLIT);
        let mut routers: [Router; ROUTERS] = Default::default();
        let first: Vec<String> = routers.iter().map(Router::text).collect();
        operator.sample(&first.iter().map(|text| Some(text.as_str())).collect::<Vec<_>>());
        let (mut shown, mut written): (Vec<Vec<String>>, Vec<String>) = Default::default();
        for (sampling, traffic) in self.traffic.iter().enumerate() {
            let fault = (sampling == self.at).then_some(self.fault);
            if fault == Some(Fault::RouterRestart) {
                routers[0].restart();
            }
            for (router, arms) in routers.iter_mut().zip(traffic) {
                router.count(arms);
            }
            shown.push(routers.iter().map(Router::text).collect());
            let mut pages: Vec<Option<&str>> =
                shown[sampling].iter().map(|text| Some(text.as_str())).collect();
            match fault {
                Some(Fault::LostPage) => pages[0] = None,
                Some(Fault::DuplicatedPage) => pages[0] = Some(&shown[sampling - 1][0]),
                Some(Fault::LatePage) => pages[0] = Some(&shown[sampling - 3][0]),
                Some(Fault::OperatorRestart) => operator.restart(&written[sampling - 1]),
                Some(Fault::OperatorKilled) => operator.restart(&written[sampling - 2]),
                Some(Fault::RouterRestart) | None => {}
            }
            operator.wait();
            let interval = operator.sample(&pages);
            operator.judge(interval);
            written.push(operator.written());
        }
        operator.written()
    }

    /// The state in the end, and the requests in it, from the counts themselves.
    fn clean(&self, counts: impl Fn(usize, usize) -> Option<Range<usize>>) -> (String, u64) {
        let mut operator = Operator::new(self.settings, self.profiles, SPLIT);
        let mut requests = 0;
        for sampling in 0..SAMPLINGS {
            operator.wait();
            let mut sum: Option<[Counts; 2]> = None;
            for router in 0..ROUTERS {
                let Some(range) = counts(router, sampling) else { continue };
                let sum = sum.get_or_insert_default();
                for traffic in &self.traffic[range] {
                    for (sum, counts) in sum.iter_mut().zip(&traffic[router]) {
                        sum.add(counts);
                        requests += counts.requests();
                    }
                }
            }
            if let Some(sum) = sum {
                let interval = operator.dated(sum);
                operator.judge(Some(interval));
            }
        }
        (operator.written(), requests)
    }
}
