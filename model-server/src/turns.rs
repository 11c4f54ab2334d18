//! How the threads of a server share its processors.

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityOsValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// From here on, neither this thread nor one that it starts interrupts another to take its turn (`SCHED_BATCH`, sched(7)): on a
/// free processor it starts at once as before, on a busy one a few milliseconds later at most. Otherwise each request that arrives
/// interrupts a model, for a few microseconds of work, and takes the model's numbers out of the caches. A process that was made
/// nice stays as it is, and so does one whose sandbox forbids the change, which the log says.
pub fn take_turns() {
    let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    // The library sets both.
    let as_before = ThreadPriority::Os(ThreadPriorityOsValue::default());
    if rustix::process::nice(0) == Ok(0)
        && let Err(error) = set_thread_priority_and_policy(thread_native_id(), as_before, batch)
    {
        tracing::warn!("threads interrupt each other, which costs some throughput: SCHED_BATCH: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thread_priority::thread_schedule_policy;

    #[test]
    fn threads_take_turns_and_so_do_those_that_they_start() {
        let of = || (thread_schedule_policy().unwrap(), rustix::process::nice(0).unwrap());
        let (_, nice) = of();
        let threads = std::thread::spawn(move || {
            take_turns();
            [of(), std::thread::spawn(of).join().unwrap()]
        });
        let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        assert_eq!(threads.join().unwrap(), [(batch, nice); 2]);
        assert_ne!(of().0, batch);
    }
}
