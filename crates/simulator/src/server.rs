//! The listener and the routes. Connections are served one task each, directly on hyper, because a vendor
//! that accepts and then resets the connection cannot be played through a plain router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post, put};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::answer::Break;
use crate::world::World;
use crate::{admin, exceptions, exotel, records, sobot_in, sobot_io, sobot_io_other};

/// When a request's head was read, in microseconds since the start.
#[derive(Clone, Copy)]
pub(crate) struct ArrivedAt(pub(crate) u64);

/// Bodies beyond this are refused; 100 of Exotel's longest messages fit.
const MOST_BODY_BYTES: usize = 8 << 20;

pub(crate) fn router(world: Arc<World>) -> Router {
    let sobot_io = Router::new()
        .route("/forword", post(sobot_io::send))
        .route("/send_record_list", post(records::list))
        .route("/templateList", get(sobot_io_other::template_list))
        .route("/createTemplateInfo", post(sobot_io_other::create_template))
        .route("/deleteTemplate", get(sobot_io_other::delete_template))
        .route("/get_handle_id", post(sobot_io_other::get_handle_id))
        .route("/media_upload", post(sobot_io_other::media_upload))
        .route("/api_query_task_list", post(sobot_io_other::task_list))
        .route("/billDetailList", get(sobot_io_other::bill));
    let own = Router::new()
        .route("/ledger.json", get(admin::ledger))
        .route("/totals.json", get(admin::totals))
        .route("/arrivals.csv", get(admin::arrivals))
        .route("/messages.csv", get(admin::messages))
        .route("/requests.json", get(admin::requests))
        .route("/faults", get(admin::faults).post(admin::set_faults))
        .route("/callback_urls", post(admin::callback_urls))
        .route("/callbacks", get(admin::callbacks).post(admin::set_callbacks))
        .route("/callbacks/replay", post(admin::replay))
        .route("/inbound", post(admin::inbound))
        .route("/tokens/invalidate", post(admin::invalidate_tokens));
    Router::new()
        .route("/v2/accounts/{sid}/messages", post(exotel::send))
        .route("/api/get_token", get(sobot_io::get_token))
        .nest("/chat-whatsapp/api/whatsapp", sobot_io)
        .route("/chat-set/api/webhook/response_list", post(exceptions::response_list))
        .route("/chat-set/api/webhook/again_push_response", post(exceptions::again_push))
        .route("/message/", post(sobot_in::send))
        .route("/api/customer", get(sobot_in::list_customers).post(sobot_in::add_customer))
        .route("/api/customer/{mobile}", put(sobot_in::update_customer))
        .route("/api/template/", get(sobot_in::list_templates).post(sobot_in::add_template))
        .nest("/_simulator", own)
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .with_state(world)
}

/// Accepts connections until it is aborted; its connections end with it.
pub(crate) async fn serve(listener: TcpListener, world: Arc<World>) {
    let router = router(world.clone());
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                connections.spawn(connection(stream, router.clone(), world.clone()));
            }
            Err(error) => {
                // Usually too many open files: room comes with connections that end.
                tracing::warn!(%error, "the simulator could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, router: Router, world: Arc<World>) {
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ArrivedAt(world.clock.now_us()));
        let answered = inner.call(request);
        async move {
            let Ok(response) = answered.await;
            match response.extensions().get::<Break>() {
                Some(Break::Reset) => Err(Broken { reset: true }),
                Some(Break::Close) => Err(Broken { reset: false }),
                None => Ok(response),
            }
        }
    });
    // A request that has come whole is worked on, also when its caller closes meanwhile: a vendor does not look back.
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let ended = (&mut connection).await;
    let cause = ended.as_ref().err().and_then(std::error::Error::source);
    if cause.and_then(|cause| cause.downcast_ref::<Broken>()).is_some_and(|broken| broken.reset) {
        // Without lingering, closing discards what is unsent and sends RST.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// Why a connection ends without an answer.
#[derive(Debug)]
struct Broken {
    reset: bool,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off on purpose")
    }
}

impl std::error::Error for Broken {}
