use super::*;

#[tokio::test]
async fn what_led_to_a_way_back_is_told_until_it_is_over() {
    // rule: J2
    let mut world = World::new();
    let router = world.router("a").await;
    router.with(|s| s.generation = 7);
    world.samplers.order(&world.key, judged(7, Timestamp::now()));
    world.until("a baseline", |s| !s.evidence.is_empty()).await;
    router.serve(7, "new", 40);
    let before = world.until("40 requests", |s| requests(s) == 40).await;

    router.serve(7, "new", 9);
    let back = Order { remembers: true, ..order(8) };
    world.samplers.order(&world.key, back.clone());
    router.with(|s| s.generation = 8);
    let told = world.until("the way back", |s| acknowledged(s, &back, &["a"])).await;
    assert_eq!((&told.evidence, &told.memory), (&before.evidence, &before.memory));
    let pages = router.with(|s| s.evidences);

    // The operator may look at it again and again, for as long as it lasts.
    world.samplers.order(&world.key, back);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.samplers.snapshot(&world.key).evidence, before.evidence);
    assert_eq!(router.with(|s| s.evidences), pages, "nothing is judged on the way back");

    world.samplers.order(&world.key, order(8));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let after = world.samplers.snapshot(&world.key);
    assert!(after.evidence.is_empty() && after.memory.is_none(), "{after:?}");
}
