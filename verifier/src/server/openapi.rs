//! The routes, and the OpenAPI document that is made from them.

use std::sync::Arc;

use axum::Json;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, RefOr, ResponseBuilder};
use utoipa::{OpenApi as _, PartialSchema, ToSchema, openapi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{self, Problem};
use super::{App, events, health, lists, operator, reports, requests, singles};

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Verbatim",
    description = "Rebuilds CPython source releases from their tags and compares them with the \
                   published files byte for byte."
))]
struct Document;

/// Every route with its description.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(requests::ask))
        .routes(routes!(requests::take_back))
        .routes(routes!(lists::jobs))
        .routes(routes!(singles::job, operator::cancel_job))
        .routes(routes!(events::follow))
        .routes(routes!(singles::log))
        .routes(routes!(lists::records))
        .routes(routes!(singles::record))
        .routes(routes!(reports::list))
        .routes(routes!(reports::report))
        .routes(routes!(lists::releases))
        .routes(routes!(singles::release))
        .routes(routes!(lists::artifacts))
        .routes(routes!(lists::observations))
        .routes(routes!(lists::alarms))
        .routes(routes!(operator::clear_alarm))
        .routes(routes!(lists::deliveries))
        .routes(routes!(singles::status))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(itself))
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json",
    responses((status = 200, body = serde_json::Value)))]
async fn itself() -> Json<OpenApi> {
    Json(document())
}

/// The description of the API, OpenAPI 3.1.
pub fn document() -> OpenApi {
    let mut document = routes().into_openapi();
    let components = document.components.get_or_insert_default();
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("token", bearer);
    for path in document.paths.paths.values_mut() {
        for operation in [&mut path.get, &mut path.post, &mut path.delete].into_iter().flatten() {
            describe_errors(operation);
        }
        if let Some(operation) = &mut path.get {
            let same = ResponseBuilder::new().description("it is what the client has");
            let same = RefOr::T(same.build());
            operation.responses.responses.insert("304".to_owned(), same);
        }
    }
    document
}

/// Every error that this operation may answer is a problem document; there are no others.
fn describe_errors(operation: &mut Operation) {
    let in_path = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Path,
        RefOr::Ref(_) => false,
    };
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let names_something = parameters.iter().any(in_path);
    let mut errors = vec![("500", "trouble of ours"), ("503", "not now; see Retry-After")];
    if !parameters.is_empty() || operation.request_body.is_some() {
        errors.push(("400", "the request cannot be understood"));
    }
    if names_something || operation.request_body.is_some() {
        errors.push(("404", "there is no such thing"));
    }
    if operation.request_body.is_some() {
        errors.push(("408", "the body did not come in time"));
        errors.push(("413", "the body is too long"));
        errors.push(("415", "the body is not said to be JSON"));
        errors.push(("422", "the body is JSON, but not what is expected"));
    }
    if operation.security.is_some() {
        errors.push(("401", "a token is needed, or this one is not known"));
        errors.push(("403", "this token does not allow it"));
        errors.push(("429", "too many requests; see Retry-After"));
    }
    for (status, description) in errors {
        let reference = openapi::Ref::from_schema_name(Problem::name());
        let content = ContentBuilder::new().schema(Some(reference)).build();
        let error = ResponseBuilder::new()
            .description(description)
            .content(problem::MEDIA_TYPE, content)
            .build();
        operation.responses.responses.insert(status.to_owned(), RefOr::T(error));
    }
}
