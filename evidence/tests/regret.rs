//! What a bandit costs, in simulated rollouts.
mod common;

use common::regret::{World, lai_robbins, mean_regret, run};
use evidence::{Bandit, HalfLife};

fn bandit() -> Bandit {
    Bandit { total: 100, floor: 2, ceiling: 100, max_step: 20, half_life: None, stop_at: 0.95 }
}

#[test]
fn explore() {
    let three = [0.93, 0.90, 0.85];
    let two = [0.95, 0.90];
    for (chances, starts) in [
        (&[0.93, 0.90, 0.85][..], vec![vec![34u32, 33, 33], vec![100, 0, 0]]),
        (&[0.85, 0.90, 0.93][..], vec![vec![100, 0, 0]]),
        (&[0.95, 0.90][..], vec![vec![50, 50], vec![100, 0]]),
        (&[0.90, 0.95][..], vec![vec![100, 0]]),
    ] {
        for start in starts {
            for delay in [0, 500] {
                for floor in [0, 2] {
                    for total in [100, 10_000] {
                        let m = total / 100;
                        let start: Vec<u32> = start.iter().map(|s| s * m).collect();
                        let b =
                            Bandit { floor: floor * m, total, ceiling: total, max_step: 20 * m, ..bandit() };
                        let world = World { chances, start: &start, requests: 10_000, delay, turn: None };
                        println!(
                            "{chances:?} {start:?} delay {delay} floor {floor} total {total}: {:.1} (C ln T {:.1})",
                            mean_regret(&b, &world, 200),
                            lai_robbins(chances) * 1e4f64.ln()
                        );
                    }
                }
            }
        }
    }
}
