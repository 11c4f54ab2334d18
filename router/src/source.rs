//! Where the table comes from: one ModelRoute and the EndpointSlices of its Services, watched for ever. The
//! API server may go away: the last table and endpoints stay.

mod feed;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use api::ModelRoute;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Config, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::{Board, Cache};
use feed::{Feed, What};

/// A watch is renewed after this many seconds: by this a dead API server is noticed.
const WATCH_SECONDS: u32 = 60;
/// First and longest pause before a broken watch is started anew.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The watches of one router.
pub struct Source {
    /// Namespace of the ModelRoute and of the Services.
    pub namespace: String,
    /// Name of the ModelRoute, which is that of its ModelDeployment.
    pub route: String,
    /// Where the newest table is kept, if it is.
    pub cache: Option<Cache>,
}

/// What a watch brought.
enum News {
    Route(Box<watcher::Event<DeserializeGuard<ModelRoute>>>),
    Slices(Box<watcher::Event<EndpointSlice>>),
    Lost(What, watcher::Error),
}

impl Source {
    /// Watches for ever and keeps `board` up to date. `readiness` waits for the first table and the first
    /// complete list of endpoints from this call on, not only once the future is polled.
    pub fn run(
        self,
        client: Client,
        board: Arc<Board>,
        readiness: &admin::Readiness,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut feed = Feed::new(&self.route, board.clone(), readiness);
        if let Some(cache) = &self.cache {
            match cache.read() {
                Ok(kept) => kept.into_iter().for_each(|kept| feed.begin_with(kept)),
                Err(error) => tracing::warn!(%error, "the table on disk cannot be read"),
            }
        }
        let keep = self.cache.clone().map(|cache| cache.keep(feed.keep(), board));
        let watch = self.watch(client, feed);
        async move {
            match keep {
                Some(keep) => drop(futures::join!(watch, keep)),
                None => watch.await,
            }
        }
    }

    async fn watch(self, client: Client, mut feed: Feed) {
        let routes = Api::namespaced(client.clone(), &self.namespace);
        let slices = Api::namespaced(client, &self.namespace);
        let by_name =
            Config::default().timeout(WATCH_SECONDS).fields(&format!("metadata.name={}", self.route));
        let by_label = format!("{}={}", api::names::DEPLOYMENT, self.route);
        let by_label = Config::default().timeout(WATCH_SECONDS).labels(&by_label);
        let routes = events(routes, by_name).map(|result| match result {
            Ok(event) => News::Route(Box::new(event)),
            Err(error) => News::Lost(What::Route, error),
        });
        let slices = events(slices, by_label).map(|result| match result {
            Ok(event) => News::Slices(Box::new(event)),
            Err(error) => News::Lost(What::Slices, error),
        });
        let mut news = pin!(stream::select(routes, slices));
        while let Some(news) = news.next().await {
            match news {
                News::Route(event) => feed.route(*event),
                News::Slices(event) => feed.slices(*event),
                News::Lost(what, error) => feed.lost(what, &error),
            }
        }
    }
}

/// Events of a watch that never ends. After an error it lists anew: a watch that was merely resumed brings no
/// event by which the router could tell that it is up to date again.
fn events<K>(api: Api<K>, config: Config) -> impl Stream<Item = watcher::Result<watcher::Event<K>>>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let begin = move |pause: Duration| (watcher(api.clone(), config.clone()).boxed(), pause, false);
    let first = begin(PAUSES.0);
    stream::unfold(first, move |(mut watch, mut pause, broken)| {
        let begin = begin.clone();
        async move {
            if broken {
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                (watch, pause, _) = begin((pause * 2).min(PAUSES.1));
            }
            let event = watch.next().await?;
            // `Init` comes before the API server was even asked.
            if matches!(event, Ok(ref e) if !matches!(e, watcher::Event::Init)) {
                pause = PAUSES.0;
            }
            let broken = event.is_err();
            Some((event, (watch, pause, broken)))
        }
    })
}
