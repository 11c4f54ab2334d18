//! What a round of pages shows of the slots, apart from what was shown before (C4).

use std::collections::BTreeMap;

use wire::{RouteState, SlotSet, Slots};

use crate::Arms;

/// The slots on the pages of one stage, at one sampling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRound {
    /// The candidate's slots.
    pub candidate: SlotSet,
    /// Stable's.
    pub stable: SlotSet,
    /// What the routers show that were counted in this round: since the stage's states began.
    pub now: Slots,
    /// What any router had shown before, with the pages that are only baselines.
    pub earlier: Slots,
}

/// Pages' slots by state of the table.
pub(crate) type ByState = BTreeMap<RouteState, Slots>;

/// All that was ever shown, over all routers: a router that restarts forgets, this does not. About 25 KiB
/// per state of a sticky route, nothing for others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown(ByState);

impl SlotRound {
    /// The slots of candidate and stable. States of one stage give each slot to the same arm; one that changed hands
    /// cannot be attributed.
    pub(crate) fn apart(&self) -> [SlotSet; 2] {
        let Self { candidate, stable, .. } = self;
        [candidate.without(stable), stable.without(candidate)]
    }

    /// The slots with something on any page so far, in this round or before.
    pub(crate) fn ever(&self, of: impl Fn(&Slots) -> SlotSet) -> SlotSet {
        let mut slots = of(&self.earlier);
        slots.add(&of(&self.now));
        slots
    }
}

impl Shown {
    /// Takes the slots of a round's pages: of those that are counted, and of those that are only baselines. For each
    /// pair of arms `None` when no page of the stage has any.
    pub(crate) fn rounds(
        &mut self,
        counted: Vec<ByState>,
        baselines: Vec<ByState>,
        all: &[Arms],
    ) -> Vec<Option<Box<SlotRound>>> {
        let pages = || counted.iter().chain(&baselines);
        if pages().next().is_some() {
            // As with the counters: what left the pages may come back late as long as the stage lasts.
            let on_page: Vec<RouteState> = pages().flat_map(BTreeMap::keys).cloned().collect();
            let is_of_stage = |state: &RouteState| all.iter().any(|arms| arms.states.contains(state));
            self.0.retain(|state, _| on_page.contains(state) || is_of_stage(state));
        }
        baselines.into_iter().for_each(|page| self.add(page));
        let rounds = all.iter().map(|arms| self.of(&counted, arms)).collect();
        counted.into_iter().for_each(|page| self.add(page));
        rounds
    }

    /// What these pages show beyond what was shown before.
    fn of(&self, counted: &[ByState], arms: &Arms) -> Option<Box<SlotRound>> {
        let earlier = of_stage([&self.0], arms);
        let now = of_stage(counted, arms);
        let owned = |revision: &str| {
            let mut slots = now.as_ref().map(|now| now.owned(revision)).unwrap_or_default();
            earlier.iter().for_each(|earlier| slots.add(&earlier.owned(revision)));
            slots
        };
        let candidate = owned(&arms.candidate);
        let stable = arms.stable.as_deref().map(owned).unwrap_or_default();
        (now.is_some() || earlier.is_some()).then(|| {
            let (now, earlier) = (now.unwrap_or_default(), earlier.unwrap_or_default());
            Box::new(SlotRound { candidate, stable, now, earlier })
        })
    }

    fn add(&mut self, page: ByState) {
        for (state, slots) in page {
            self.0.entry(state).or_default().merge(&slots);
        }
    }
}

/// The states of the stage on these pages, as one.
fn of_stage<'a>(pages: impl IntoIterator<Item = &'a ByState>, arms: &Arms) -> Option<Slots> {
    let mut all: Option<Slots> = None;
    for page in pages {
        for slots in arms.states.iter().filter_map(|state| page.get(state)) {
            all.get_or_insert_default().merge(slots);
        }
    }
    all
}
