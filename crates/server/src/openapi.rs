//! The description of the interface, OpenAPI 3.1, made from the handlers and types themselves.

use utoipa::{
    OpenApi as _,
    openapi::{
        Content, OpenApi, Ref, ResponseBuilder,
        path::{Operation, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "campaignd",
        description = "Bulk WhatsApp campaigns: audiences in, messages out, every recipient accounted for. \
                       Errors are RFC 9457 problems; lists page by `limit` and `after`; times are RFC 3339 in UTC."
    ),
    components(schemas(::api::Problem))
)]
struct Description;

/// What is the same for every call.
pub fn description() -> OpenApi {
    Description::openapi()
}

const SCHEME: &str = "token";

/// Adds the token and the form of errors to every operation.
pub fn finish(mut openapi: OpenApi) -> OpenApi {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The value of CAMPAIGND_ADMIN_TOKEN."))
        .build();
    if let Some(components) = &mut openapi.components {
        components.add_security_scheme(SCHEME, SecurityScheme::Http(scheme));
    }
    openapi.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
    for item in openapi.paths.paths.values_mut() {
        for operation in operations(item) {
            let problem = ResponseBuilder::new()
                .description("Why it was not carried out.")
                .content("application/problem+json", Content::new(Some(Ref::from_schema_name("Problem"))))
                .build();
            operation.responses.responses.insert("default".to_owned(), problem.into());
        }
    }
    openapi
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete]
        .into_iter()
        .filter_map(Option::as_mut)
}
