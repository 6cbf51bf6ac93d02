//! What a simulated REST source holds and how it pages: no network, no clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value};

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page starts; none on the last.
    pub next: Option<String>,
}

/// The records of one path, ordered by change time and id.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    records: BTreeMap<String, (Timestamp, Map<String, Value>)>,
    order: BTreeSet<(Timestamp, String)>,
}

impl Shelf {
    /// Adds or replaces a record; its stamp decides where it comes in the order.
    pub fn upsert(&mut self, id: String, changed_at: Timestamp, record: Map<String, Value>) {
        self.delete(&id);
        self.order.insert((changed_at, id.clone()));
        self.records.insert(id, (changed_at, record));
    }

    /// Removes a record; whether it was there.
    pub fn delete(&mut self, id: &str) -> bool {
        let found = self.records.remove(id);
        if let Some((changed_at, _)) = &found {
            self.order.remove(&(*changed_at, id.to_owned()));
        }
        found.is_some()
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Map<String, Value>> {
        self.records.get(id).map(|(_, record)| record)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// All records by id.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &(Timestamp, Map<String, Value>))> {
        self.records.iter()
    }

    /// Records changed at or after `since`, oldest first. The token names the last record of the page before, so a record that
    /// changes between two pages comes again at the end and none is left out.
    ///
    /// # Errors
    /// When the token is none of ours.
    pub fn page(&self, since: Option<Timestamp>, limit: usize, token: Option<&str>) -> Result<Page<Map<String, Value>>, String> {
        let after = token.map(parse_token).transpose()?;
        let from = match (&after, since) {
            (Some(after), _) => after.clone(),
            (None, since) => (since.unwrap_or(Timestamp::MIN), String::new()),
        };
        let mut rest = self.order.range(from..).filter(|entry| Some(*entry) != after.as_ref());
        let taken: Vec<_> = rest.by_ref().take(limit.max(1)).collect();
        let next = match (taken.last(), rest.next()) {
            (Some((changed_at, id)), Some(_)) => Some(format!("{changed_at}|{id}")),
            (_, None) | (None, _) => None,
        };
        Ok(Page { items: taken.into_iter().filter_map(|(_, id)| self.get(id).cloned()).collect(), next })
    }

    /// Ids in their own order.
    #[must_use]
    pub fn ids(&self, limit: usize, token: Option<&str>) -> Page<String> {
        let mut rest = self.records.keys().filter(|id| token.is_none_or(|token| id.as_str() > token));
        let items: Vec<String> = rest.by_ref().take(limit.max(1)).cloned().collect();
        let next = rest.next().and_then(|_| items.last().cloned());
        Page { items, next }
    }
}

fn parse_token(token: &str) -> Result<(Timestamp, String), String> {
    let (stamp, id) = token.split_once('|').ok_or_else(|| format!("page token `{token}` is none of ours"))?;
    Ok((stamp.parse().map_err(|_| format!("page token `{token}` holds no stamp"))?, id.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn shelf(stamps: &[(&str, i64)]) -> Shelf {
        let mut shelf = Shelf::default();
        for (id, second) in stamps {
            shelf.upsert((*id).to_owned(), at(*second), json!({"id": id}).as_object().unwrap().clone());
        }
        shelf
    }

    fn walk(shelf: &Shelf, since: Option<i64>, limit: usize) -> Vec<String> {
        let (mut ids, mut token) = (Vec::new(), None);
        loop {
            let page = shelf.page(since.map(at), limit, token.as_deref()).unwrap();
            ids.extend(page.items.iter().map(|record| record["id"].as_str().unwrap().to_owned()));
            match page.next {
                Some(next) => token = Some(next),
                None => return ids,
            }
        }
    }

    #[test]
    fn pages_hold_every_record_once_in_order_of_change() {
        let shelf = shelf(&[("c", 1), ("a", 2), ("b", 2), ("d", 3), ("e", 2)]);
        for limit in 1..7 {
            assert_eq!(walk(&shelf, None, limit), ["c", "a", "b", "e", "d"], "limit {limit}");
        }
    }

    #[test]
    fn since_includes_its_own_instant() {
        let shelf = shelf(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(walk(&shelf, Some(2), 1), ["b", "c"]);
        assert!(walk(&shelf, Some(4), 1).is_empty());
    }

    #[test]
    fn a_record_that_changes_between_two_pages_comes_again() {
        let mut shelf = shelf(&[("a", 1), ("b", 2), ("c", 3)]);
        let first = shelf.page(None, 2, None).unwrap();
        shelf.upsert("a".to_owned(), at(4), json!({"id": "a"}).as_object().unwrap().clone());
        let second = shelf.page(None, 2, first.next.as_deref()).unwrap();
        let ids: Vec<_> = second.items.iter().map(|record| record["id"].clone()).collect();
        assert_eq!((ids, second.next), (vec![json!("c"), json!("a")], None));
    }

    #[test]
    fn ids_are_swept_in_pages() {
        let mut shelf = shelf(&[("a", 1), ("b", 2), ("c", 3)]);
        assert!(shelf.delete("b"));
        let first = shelf.ids(1, None);
        let second = shelf.ids(1, first.next.as_deref());
        assert_eq!((first.items, second.items, second.next), (vec!["a".to_owned()], vec!["c".to_owned()], None));
    }

    #[test]
    fn a_strange_token_is_an_error() {
        assert!(shelf(&[]).page(None, 1, Some("bogus")).is_err());
    }
}
