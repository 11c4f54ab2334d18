//! The least that a proxy on Pingora does: an upstream peer per request, one thread, no work stealing, nothing counted.

use async_trait::async_trait;
use peer_proxies::{CANDIDATE, KEPT, STABLE, is_candidates};
use pingora::prelude::{HttpPeer, Result, Session, http_proxy_service};
use pingora::proxy::ProxyHttp;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;

struct Split;

#[async_trait]
impl ProxyHttp for Split {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, session: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let is_candidates = is_candidates(&session.req_header().headers);
        let server = if is_candidates { CANDIDATE } else { STABLE };
        Ok(Box::new(HttpPeer::new(server, false, String::new())))
    }
}

fn main() {
    let conf = ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: KEPT,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Split);
    proxy.add_tcp("127.0.0.1:18203");
    server.add_service(proxy);
    server.run_forever();
}
