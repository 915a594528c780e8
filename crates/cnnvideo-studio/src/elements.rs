// SPDX-License-Identifier: MIT OR Apache-2.0

//! The elements that cards offer: their controls, made from their properties.

use glib::{ParamFlags, ParamSpec};
use gst::prelude::*;
use serde_json::{Value, json};

use crate::{
    access::Access,
    card::Card,
    problem::{Problem, Result},
};

/// Elements of cards, in the order in which the page offers them.
pub(crate) const ELEMENTS: [&str; 6] =
    ["cnndenoise", "cnnsmooth", "cnndeband", "cnnsegment", "watermarkembed", "watermarkdetect"];

/// Properties that are no controls. `key` would send the bytes of a key through the page.
const HIDDEN: [&str; 7] =
    ["name", "parent", "qos", "key", "noise-model", "last-payload", "emit-signals"];

/// Properties that few users change.
const RARE: [&str; 13] = [
    "candidates-file",
    "chroma-noise-level",
    "device",
    "dither",
    "epoch",
    "epochs",
    "false-positive-rate",
    "frame-offset",
    "model-file",
    "post-all",
    "precision",
    "texture-aware",
    "threads",
];

/// Returns whether a property is a path, which must be below the allowed folders.
pub(crate) fn is_path(name: &str) -> bool {
    name.ends_with("-file") || name == "location"
}

/// Describes all elements for the page.
pub(crate) fn describe(names: &[String]) -> Vec<Value> {
    names.iter().filter_map(|name| describe_one(name)).collect()
}

fn describe_one(name: &str) -> Option<Value> {
    let factory = gst::ElementFactory::find(name)?;
    let element = factory.create().build().ok()?;
    let controls: Vec<_> = element
        .list_properties()
        .iter()
        .filter(|spec| is_control(spec))
        .filter_map(control)
        .collect();
    Some(json!({
        "name": name,
        "title": factory.metadata("long-name"),
        "about": factory.metadata("description"),
        "controls": controls,
    }))
}

fn is_control(spec: &ParamSpec) -> bool {
    spec.flags().contains(ParamFlags::READWRITE)
        && !spec.flags().contains(ParamFlags::CONSTRUCT_ONLY)
        && !HIDDEN.contains(&spec.name())
}

/// Describes the control of a property, or returns `None` if it has a type without one.
fn control(spec: &ParamSpec) -> Option<Value> {
    let mut control = json!({
        "name": spec.name(),
        "about": spec.blurb(),
        "live": is_live(spec),
        "rare": RARE.contains(&spec.name()) || is_rare_quality(spec),
        "path": is_path(spec.name()),
    });
    let kind = if let Some((kind, low, high, default)) = number(spec) {
        control["low"] = json!(low);
        control["high"] = json!(high);
        control["default"] = json!(default);
        kind
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecBoolean>() {
        control["default"] = json!(spec.default_value());
        "switch"
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecEnum>() {
        let class = spec.enum_class();
        let nick = |value: i32| class.value(value).map(|value| value.nick().to_owned());
        control["default"] = json!(nick(spec.default_value_as_i32()));
        let choices = class.values().iter().map(|v| json!({"value": v.nick(), "about": v.name()}));
        control["choices"] = choices.collect();
        "choice"
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecString>() {
        control["default"] = json!(spec.default_value().map(|text| text.to_string()));
        "text"
    } else {
        return None;
    };
    control["kind"] = json!(kind);
    Some(control)
}

/// Returns whether a property is the quality preset of an element that has one preset only.
fn is_rare_quality(spec: &ParamSpec) -> bool {
    spec.name() == "quality" && spec.owner_type().name() != "GstCnnDenoise"
}

/// Returns kind, range and default of a property that is a number.
fn number(spec: &ParamSpec) -> Option<(&'static str, f64, f64, f64)> {
    macro_rules! of {
        ($($spec:ty => $kind:literal),*) => {
            $(if let Some(spec) = spec.downcast_ref::<$spec>() {
                // The text of an f32 has fewer digits than that of the same f64.
                let value = |number| shortest(f64::from_str_or(number));
                return Some((
                    $kind,
                    value(spec.minimum().to_string()),
                    value(spec.maximum().to_string()),
                    value(spec.default_value().to_string()),
                ));
            })*
        };
    }
    of!(
        glib::ParamSpecFloat => "real",
        glib::ParamSpecDouble => "real",
        glib::ParamSpecInt => "whole",
        glib::ParamSpecUInt => "whole",
        glib::ParamSpecInt64 => "whole",
        glib::ParamSpecUInt64 => "whole"
    );
    None
}

/// Numbers from texts.
trait FromText {
    fn from_str_or(text: String) -> f64;
}

impl FromText for f64 {
    fn from_str_or(text: String) -> f64 {
        text.parse().unwrap_or_default()
    }
}

/// Keeps numbers within those that JSON and JavaScript represent.
fn shortest(number: f64) -> f64 {
    number.clamp(-9e15, 9e15)
}

/// Returns whether a property may change while frames pass.
fn is_live(spec: &ParamSpec) -> bool {
    spec.flags().contains(gst::PARAM_FLAG_MUTABLE_PLAYING)
        || spec.flags().contains(gst::PARAM_FLAG_CONTROLLABLE)
}

/// Returns whether a property of an element may change while frames pass.
pub(crate) fn is_live_property(element: &gst::Element, name: &str) -> bool {
    element.find_property(name).is_some_and(|spec| is_live(&spec))
}

/// Sets the controls of an element: those of the card to its values, all others to their defaults.
/// Where it has the settings of an old card, only those that differ are set.
///
/// # Errors
/// A name or value is wrong, or a path lies outside of the allowed folders.
pub(crate) fn configure(
    element: &gst::Element,
    card: &Card,
    old: Option<&Card>,
    access: &Access,
) -> Result<()> {
    for name in card.properties.keys() {
        control_of(element, card, name)?;
    }
    for spec in element.list_properties().iter().filter(|spec| is_control(spec)) {
        if old
            .is_some_and(|old| old.properties.get(spec.name()) == card.properties.get(spec.name()))
        {
            continue;
        }
        let value = match card.properties.get(spec.name()) {
            Some(value) => value_of(spec, value, card, access)?,
            None => spec.default_value().clone(),
        };
        element.set_property_from_value(spec.name(), &value);
    }
    Ok(())
}

/// Returns the specification of a control of an element. The name must be exact: GObject also takes
/// names with `_` for `-`.
fn control_of(element: &gst::Element, card: &Card, name: &str) -> Result<ParamSpec> {
    let spec = element.find_property(name);
    spec.filter(|spec| is_control(spec) && spec.name() == name)
        .ok_or_else(|| wrong(&card.element, name, "there is no such setting"))
}

/// Checks the names and values of a card as [`configure`] does, and replaces paths by real paths.
///
/// # Errors
/// A name or value is wrong, or a path lies outside of the allowed folders.
pub(crate) fn check(card: &mut Card, access: &Access) -> Result<()> {
    let element = gst::ElementFactory::make(&card.element).build()?;
    let mut checked = card.properties.clone();
    for (name, value) in &mut checked {
        let spec = control_of(&element, card, name)?;
        let of_element = value_of(&spec, value, card, access)?;
        if is_path(name)
            && let Ok(Some(path)) = of_element.get::<Option<String>>()
        {
            *value = Value::from(path);
        }
    }
    card.properties = checked;
    Ok(())
}

/// Returns the text of a value as GStreamer reads it.
///
/// # Errors
/// The value is neither a number nor a truth value nor a text.
pub(crate) fn text_of(element: &str, name: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) if !text.contains('\0') => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(wrong(element, name, "it is not a number, text or truth value")),
    }
}

fn value_of(spec: &ParamSpec, value: &Value, card: &Card, access: &Access) -> Result<glib::Value> {
    let name = spec.name();
    let element = card.element.as_str();
    let text = text_of(element, name, value)?;
    if spec.is::<glib::ParamSpecString>() {
        if is_path(name) && !text.is_empty() {
            let path = access.file(&text)?;
            if path.extension().is_some_and(|extension| extension == "pt") {
                return Err(wrong(element, name, "files of TorchScript run code"));
            }
            return Ok(path.to_string_lossy().to_value());
        }
        return Ok(Some(text).filter(|text| !text.is_empty()).to_value());
    }
    let parsed = glib::Value::deserialize_with_pspec(&text, spec)
        .map_err(|_| wrong(element, name, &format!("{text} is not a value of it")))?;
    if let Some((_, low, high, _)) = number(spec) {
        let number = value.as_f64().or_else(|| text.parse().ok()).unwrap_or(f64::NAN);
        if !(low..=high).contains(&number) {
            return Err(wrong(element, name, &format!("{text} is not between {low} and {high}")));
        }
    }
    Ok(parsed)
}

fn wrong(element: &str, name: &str, reason: &str) -> Problem {
    Problem::new(format!("{element}, {name}: {reason}"), "reset the card, or correct the preset")
}

/// Returns the statistics of an element, as numbers and texts.
pub(crate) fn stats(element: &gst::Element) -> Value {
    let mut stats = serde_json::Map::new();
    if element.find_property("stats").is_some()
        && let Some(structure) = element.property::<Option<gst::Structure>>("stats")
    {
        for (name, value) in structure.iter() {
            if let Some(value) = json_of(value) {
                stats.insert(name.to_string(), value);
            }
        }
    }
    Value::Object(stats)
}

/// Returns a number, text or truth value of GLib as JSON.
pub(crate) fn json_of(value: &glib::Value) -> Option<Value> {
    if let Ok(text) = value.get::<Option<String>>() {
        return Some(json!(text));
    }
    if let Ok(truth) = value.get::<bool>() {
        return Some(json!(truth));
    }
    let number = value.transform::<f64>().ok()?.get::<f64>().ok()?;
    Some(json!(number))
}
