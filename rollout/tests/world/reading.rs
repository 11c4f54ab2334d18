//! What tests read of a world.

use rollout::Phase;

use super::World;

/// The whole story, a line for each thing that happened.
pub fn tell(world: &World) -> String {
    world.story.join("\n")
}

/// Whether a stage is served.
pub fn is_served(world: &World) -> bool {
    matches!(&world.state.phase, Phase::Rolling(r) if r.since().is_some())
}
