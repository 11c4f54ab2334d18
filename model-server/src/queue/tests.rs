use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Waits for a word before each answer.
struct Held(Receiver<()>);

impl Engine for Held {
    fn run(&mut self, inputs: &[f32], _: usize) -> Result<Vec<f32>, EngineError> {
        self.0.recv().map_err(|error| EngineError::Run(error.to_string()))?;
        Ok(inputs.to_vec())
    }
}

/// Without batches.
fn room(capacity: usize) -> Room {
    Room { capacity, batch: 1, delay: Duration::ZERO }
}

fn order(inputs: Vec<f32>, images: usize) -> Order {
    Order { inputs, images, priority: Priority::Live, deadline: None }
}

fn held(room: Room) -> (Queue, Sender<()>, Metrics) {
    let (go, word) = channel();
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let make = || Ok(Box::new(Held(word)) as Box<dyn Engine>);
    (Queue::start(vec![make], room, &metrics).unwrap(), go, metrics)
}

#[tokio::test]
async fn what_does_not_fit_is_refused_at_once_and_room_comes_back() {
    let (queue, go, metrics) = held(Room { batch: 3, ..room(3) });
    let first = tokio::spawn({
        let queue = queue.clone();
        async move { queue.run(order(vec![1.0; 2], 2)).await }
    });
    while metrics.queued.get() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(queue.run(order(vec![2.0; 2], 2)).await, Err(QueueError::Full { capacity: 3 })));
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), [1.0; 2]);
    go.send(()).unwrap();
    assert_eq!(queue.run(order(vec![3.0; 3], 3)).await.unwrap(), [3.0; 3]);
    assert_eq!((metrics.queued.get(), metrics.images.get()), (0, 5));
}

#[tokio::test]
async fn whoever_would_find_no_room_is_told_before_any_work() {
    let (queue, go, metrics) = held(room(2));
    let ask = || {
        let queue = queue.clone();
        tokio::spawn(async move { queue.run(order(vec![1.0], 1)).await })
    };
    let refused = || metrics.refused.with_label_values(&["queue"]).get();
    let first = ask();
    while metrics.queued.get() < 1 {
        tokio::task::yield_now().await;
    }
    queue.admit(Priority::Live).unwrap();
    let second = ask();
    while metrics.queued.get() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(refused(), 0);
    for priority in [Priority::Live, Priority::Shadow] {
        assert!(matches!(queue.admit(priority), Err(QueueError::Full { capacity: 2 })));
    }
    assert_eq!(refused(), 2);
    go.send(()).unwrap();
    go.send(()).unwrap();
    let _ = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    // Copies may have half of the room.
    queue.admit(Priority::Shadow).unwrap();
}

#[tokio::test]
async fn a_request_whose_client_left_is_skipped() {
    let (queue, go, metrics) = held(room(3));
    let run = |value| {
        let queue = queue.clone();
        tokio::spawn(async move { queue.run(order(vec![value], 1)).await })
    };
    let (first, second) = (run(1.0), run(2.0));
    while metrics.queued.get() < 2 {
        tokio::task::yield_now().await;
    }
    second.abort();
    let _ = second.await;
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), [1.0]);
    let third = run(3.0);
    go.send(()).unwrap();
    assert_eq!(third.await.unwrap().unwrap(), [3.0]);
    assert_eq!(metrics.cancelled.get(), 1);
}

/// Panics at a negative input.
struct Fragile;

impl Engine for Fragile {
    fn run(&mut self, inputs: &[f32], _: usize) -> Result<Vec<f32>, EngineError> {
        assert!(inputs[0] >= 0.0, "an input below 0");
        Ok(inputs.to_vec())
    }
}

#[tokio::test]
async fn an_engine_that_panics_fails_one_request_and_answers_the_next() {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let make = || Ok(Box::new(Fragile) as Box<dyn Engine>);
    let queue = Queue::start(vec![make], room(1), &metrics).unwrap();
    for _ in 0..3 {
        let error = queue.run(order(vec![-1.0], 1)).await.unwrap_err();
        assert_eq!(error.to_string(), "the model failed: panic: an input below 0");
        assert_eq!(queue.run(order(vec![1.0], 1)).await.unwrap(), [1.0]);
    }
    assert_eq!((metrics.queued.get(), metrics.images.get()), (0, 3));
}

#[test]
fn a_maker_that_panics_is_an_error() {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let make = || panic!("no weights");
    let error = Queue::start(vec![make], room(1), &metrics).unwrap_err();
    assert_eq!(error.to_string(), "the model cannot be loaded: panic: no weights");
}

#[test]
fn an_engine_that_cannot_be_made_is_an_error() {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let make = || Err(EngineError::Load("no".into()));
    assert!(matches!(Queue::start(vec![make], room(1), &metrics), Err(EngineError::Load(_))));
}

/// Gives each input back, and notes the size of each batch.
struct Echo {
    go: Receiver<()>,
    batches: Arc<std::sync::Mutex<Vec<usize>>>,
}

impl Engine for Echo {
    fn run(&mut self, inputs: &[f32], images: usize) -> Result<Vec<f32>, EngineError> {
        self.batches.lock().unwrap().push(images);
        // The first word lets all others go.
        let _ = self.go.recv();
        if inputs.contains(&-1.0) {
            return Err(EngineError::Run("an input below 0".into()));
        }
        Ok(inputs.to_vec())
    }
}

struct Echoing {
    queue: Queue,
    go: Option<Sender<()>>,
    batches: Arc<std::sync::Mutex<Vec<usize>>>,
    metrics: Metrics,
}

fn echoing(room: Room) -> Echoing {
    let (go, word) = channel();
    let batches = Arc::default();
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let echo = Echo { go: word, batches: Arc::clone(&batches) };
    let make = || Ok(Box::new(echo) as Box<dyn Engine>);
    let queue = Queue::start(vec![make], room, &metrics).unwrap();
    Echoing { queue, go: Some(go), batches, metrics }
}

impl Echoing {
    /// Puts an order into the queue, and waits until it is there.
    async fn ask(&self, order: Order) -> tokio::task::JoinHandle<Result<Vec<f32>, QueueError>> {
        let (queue, before, images) = (self.queue.clone(), self.metrics.queued.get(), order.images as i64);
        let asked = tokio::spawn(async move { queue.run(order).await });
        while self.metrics.queued.get() < before + images {
            tokio::task::yield_now().await;
        }
        asked
    }

    /// One that keeps the worker busy, until [`Self::let_go`].
    async fn busy(&self) -> tokio::task::JoinHandle<Result<Vec<f32>, QueueError>> {
        let asked = self.ask(order(vec![0.5], 1)).await;
        while self.batches.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        asked
    }

    fn let_go(&mut self) {
        self.go = None;
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn what_waits_runs_together_and_each_gets_its_own_outputs() {
    let mut all = echoing(Room { capacity: 20, batch: 4, delay: Duration::ZERO });
    let mut asked = vec![all.busy().await];
    for (i, images) in [1, 2, 1, 3, 2].into_iter().enumerate() {
        asked.push(all.ask(order(vec![i as f32; images], images)).await);
    }
    all.let_go();
    let mut outputs = vec![];
    for asked in asked {
        outputs.push(asked.await.unwrap().unwrap());
    }
    assert_eq!(outputs, [vec![0.5], vec![0.0], vec![1.0; 2], vec![2.0], vec![3.0; 3], vec![4.0; 2]]);
    assert_eq!(all.batches(), [1, 4, 3, 2], "as many as fit, in their order");
    assert_eq!((all.metrics.queued.get(), all.metrics.images.get()), (0, 10));
}

#[tokio::test]
async fn a_request_of_more_than_a_batch_runs_in_parts() {
    let mut all = echoing(Room { capacity: 20, batch: 4, delay: Duration::ZERO });
    let inputs: Vec<f32> = (0..20).map(|i| i as f32).collect();
    let asked = all.ask(order(inputs.clone(), 10)).await;
    all.let_go();
    assert_eq!(asked.await.unwrap().unwrap(), inputs);
    assert_eq!(all.batches(), [4, 4, 2]);
}

#[test]
fn batches_have_few_sizes() {
    assert_eq!(together(0), 0);
    assert_eq!(sizes(64).collect::<Vec<_>>(), [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]);
    assert!((1..1000).all(|images| together(images) <= images && 3 * together(images) >= 2 * images));
}

#[tokio::test]
async fn who_does_not_fit_into_a_size_is_first_in_the_next_batch() {
    let mut all = echoing(Room { capacity: 20, batch: 10, delay: Duration::ZERO });
    let mut asked = vec![all.busy().await];
    for i in 1..=11 {
        asked.push(all.ask(order(vec![i as f32], 1)).await);
    }
    // 7 images, of which none can be given up.
    asked.push(all.ask(order((12..19).map(|i| i as f32).collect(), 7)).await);
    all.let_go();
    let mut outputs = vec![];
    for asked in asked.split_off(1) {
        outputs.extend(asked.await.unwrap().unwrap());
    }
    assert_eq!(outputs, (1..19).map(|i| i as f32).collect::<Vec<_>>());
    assert_eq!(all.batches(), [1, 8, 3, 6, 1]);
}

#[tokio::test]
async fn one_that_fails_fails_alone() {
    let mut all = echoing(Room { capacity: 20, batch: 4, delay: Duration::ZERO });
    let busy = all.busy().await;
    let mut asked = vec![];
    for value in [1.0, -1.0, 2.0] {
        asked.push(all.ask(order(vec![value], 1)).await);
    }
    all.let_go();
    assert!(busy.await.unwrap().is_ok());
    let mut outputs = vec![];
    for asked in asked {
        outputs.push(asked.await.unwrap().map_err(|error| error.to_string()));
    }
    assert_eq!(outputs, [Ok(vec![1.0]), Err("the model failed: an input below 0".into()), Ok(vec![2.0])]);
    assert_eq!(all.batches(), [1, 3, 1, 1, 1]);
}

#[tokio::test]
async fn the_live_come_before_copies_which_may_take_half_of_the_room() {
    let mut all = echoing(Room { capacity: 6, batch: 2, delay: Duration::ZERO });
    let shadow = |value| Order { priority: Priority::Shadow, ..order(vec![value; 2], 2) };
    let mut asked = vec![all.busy().await, all.ask(shadow(1.0)).await];
    let refused = all.queue.run(shadow(2.0)).await;
    assert!(matches!(refused, Err(QueueError::Full { capacity: 6 })), "{refused:?}");
    asked.push(all.ask(order(vec![3.0; 2], 2)).await);
    let (order_of_answers, mut done) = (Arc::new(std::sync::Mutex::new(vec![])), vec![]);
    for asked in asked {
        let answers = order_of_answers.clone();
        done.push(tokio::spawn(async move {
            let answer = asked.await.unwrap().unwrap()[0];
            answers.lock().unwrap().push(answer);
        }));
    }
    all.let_go();
    for done in done {
        done.await.unwrap();
    }
    assert_eq!(*order_of_answers.lock().unwrap(), [0.5, 3.0, 1.0]);
}

#[tokio::test]
async fn whose_time_is_over_is_not_run() {
    let mut all = echoing(Room { capacity: 6, batch: 4, delay: Duration::ZERO });
    let busy = all.busy().await;
    let soon = Instant::now() + Duration::from_millis(50);
    let late = all.ask(Order { deadline: Some(soon), ..order(vec![1.0], 1) }).await;
    let early = Instant::now() + Duration::from_secs(60);
    let early = all.ask(Order { deadline: Some(early), ..order(vec![2.0], 1) }).await;
    assert!(matches!(late.await.unwrap(), Err(QueueError::Late)), "nobody waits longer for it");
    all.let_go();
    assert!(busy.await.unwrap().is_ok());
    assert_eq!(early.await.unwrap().unwrap(), [2.0]);
    assert_eq!((all.batches(), all.metrics.late.get(), all.metrics.cancelled.get()), (vec![1, 1], 1, 0));
}

#[tokio::test]
async fn a_worker_waits_for_a_batch_to_fill_only_if_told_to() {
    let delay = Duration::from_secs(20);
    let mut all = echoing(Room { capacity: 6, batch: 2, delay });
    all.let_go();
    let start = Instant::now();
    let first = all.ask(order(vec![1.0], 1)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(all.batches().is_empty(), "it waits");
    // Not by `ask`, which waits to see it in the queue: it may have left at once.
    assert_eq!(all.queue.run(order(vec![2.0], 1)).await.unwrap(), [2.0]);
    assert_eq!(first.await.unwrap().unwrap(), [1.0]);
    assert!(all.batches() == [2] && start.elapsed() < delay);
}
