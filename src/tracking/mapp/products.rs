//! Products: lists of the same order in several parameters, joined by `;`.

use serde_json::{Map, Value};

use super::parameters::Parameters;
use crate::model::hit::{Hit, Kind, Limit, read_whole};

/// Most products that become a list: each takes most of a kilobyte of memory, and a line of 32 KiB
/// can name sixteen thousand.
const MOST: usize = 200;
/// Most parts of a product that become a list; Mapp's own are four and the categories.
const MOST_PARTS: usize = 50;
/// Most values in the lists of all hits that are read at once: five parts of [`MOST`] products. A
/// line can name sixteen thousand of these too, for each of ten track ids, which took 21 ms.
const MOST_VALUES: usize = 1_000;

/// Names of a product's parts: for `ba`, `co`, `qn`, `st` and `ca<n>`.
fn part(name: &str) -> Option<&str> {
    Some(match name {
        "ba" => "id",
        "co" => "cost",
        "qn" => "quantity",
        "st" => "status",
        _ => {
            let number = name.strip_prefix("ca")?;
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            return is_number.then_some(name);
        }
    })
}

/// Whether a parameter is part of the products.
pub fn is_part(name: &str) -> bool {
    part(name).is_some()
}

/// Puts the products into `extra` as a list of objects, and sums their quantities where they were
/// bought. `st` may be one value for all.
///
/// Returns the places of the parameters that are in the list, in their order. What is too much for
/// a list in the hits of so many track ids is in none, nor is what is given twice.
pub fn take(hit: &mut Hit, parameters: &Parameters<'_>, sites: usize) -> Vec<usize> {
    let listed = take_list(hit, parameters, sites);
    take_quantity(hit, parameters);
    listed
}

fn take_list(hit: &mut Hit, parameters: &Parameters<'_>, sites: usize) -> Vec<usize> {
    let (mut lists, mut listed): (Vec<(&str, &str)>, _) = (Vec::new(), Vec::new());
    for (place, (name, list)) in parameters.pairs().iter().enumerate() {
        if let Some(part) = part(name)
            && lists.len() <= MOST_PARTS
            && !lists.iter().any(|(had, _)| *had == part)
        {
            lists.push((part, list));
            listed.push(place);
        }
    }
    if lists.is_empty() {
        return listed;
    }
    let length = |list: &str| list.bytes().filter(|byte| *byte == b';').count() + 1;
    let most = lists
        .iter()
        .map(|(_, list)| length(list))
        .max()
        .unwrap_or(0);
    if most > MOST || lists.len() > MOST_PARTS || most * lists.len() * sites > MOST_VALUES {
        hit.note("too many products for a list");
        return Vec::new();
    }
    let mut products = vec![Map::new(); most];
    for (name, list) in lists {
        if name == "status" && length(list) == 1 {
            for product in &mut products {
                put(hit, product, name, list);
            }
            continue;
        }
        if length(list) != most {
            hit.note("product lists of different lengths");
        }
        for (product, value) in products.iter_mut().zip(list.split(';')) {
            put(hit, product, name, value);
        }
    }
    // A list of categories ends in `;` where the last product has none.
    let products: Vec<Value> = products.into_iter().map(Value::Object).collect();
    hit.extra
        .get_or_insert_default()
        .insert("products".to_owned(), Value::Array(products));
    listed
}

fn put(hit: &mut Hit, product: &mut Map<String, Value>, name: &str, value: &str) {
    if let Some(value) = hit.take("product", value, Limit::TITLE) {
        product.insert(name.to_owned(), Value::String(value));
    }
}

/// Items of an order.
fn take_quantity(hit: &mut Hit, parameters: &Parameters<'_>) {
    if hit.kind != Kind::Transaction {
        return;
    }
    let Some(list) = parameters.get("qn") else {
        return;
    };
    let mut sum = 0_i32;
    for number in list.split(';').map(str::trim).filter(|n| !n.is_empty()) {
        match read_whole(number).and_then(|n| sum.checked_add(n)) {
            Some(more) => sum = more,
            None => {
                hit.note("qn no number");
                return;
            }
        }
    }
    hit.quantity = Some(sum);
}
