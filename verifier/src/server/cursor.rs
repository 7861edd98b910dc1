//! Where a list goes on: opaque to clients, made of the last item's place in the list.

use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;

const ITEMS_DEFAULT: u32 = 50;
const ITEMS_MAX: u32 = 100;

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items, at most `limit`.
    pub items: Vec<T>,
    /// The `cursor` of the next part; null at the end.
    pub next: Option<String>,
}

/// The part of a list that a client asks for.
pub struct Part {
    list: &'static str,
    /// The place after which it begins.
    pub after: Option<String>,
    /// One more than is shown: whether there is a next part.
    pub rows: u32,
}

impl Part {
    /// Reads a client's `cursor` and `limit`; a cursor of another list is refused.
    pub fn of(
        list: &'static str,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Part, Problem> {
        let limit = limit.unwrap_or(ITEMS_DEFAULT);
        if !(1..=ITEMS_MAX).contains(&limit) {
            return Err(Problem::unclear(format!("limit is from 1 to {ITEMS_MAX}")));
        }
        let after = cursor.map(|cursor| read(list, cursor)).transpose()?;
        Ok(Part { list, after, rows: limit + 1 })
    }

    /// The place as a number.
    pub fn after_number(&self) -> Result<Option<i64>, Problem> {
        self.after.as_deref().map(|place| place.parse().map_err(|_| unreadable())).transpose()
    }

    /// The answer made of `rows`, of which there may be one too many.
    pub fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        place: impl Fn(&R) -> String,
        show: impl Fn(R) -> T,
    ) -> Page<T> {
        let shown = self.rows as usize - 1;
        let more = rows.len() > shown;
        rows.truncate(shown);
        let last = rows.last().filter(|_| more).map(place);
        let next = last.map(|place| hex::encode(format!("{}:{place}", self.list)));
        Page { items: rows.into_iter().map(show).collect(), next }
    }
}

fn read(list: &str, cursor: &str) -> Result<String, Problem> {
    let bytes = hex::decode(cursor).map_err(|_| unreadable())?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable())?;
    let place = text.strip_prefix(list).and_then(|rest| rest.strip_prefix(':'));
    place.map(str::to_owned).ok_or_else(unreadable)
}

/// A cursor that no answer of ours had.
pub fn unreadable() -> Problem {
    Problem::unclear("the cursor is not the `next` of an earlier answer of this list")
}
