// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compatibility of the elements: their pads, caps, properties and signals are those of
//! `docs/gst_plugins_cache.json`, which has the layout of the files of that name of GStreamer's
//! plugins.

use std::{fs, path::PathBuf};

use gst::prelude::*;
use serde_json::{Map, Value, json};

use crate::common::init;

/// Environment variable that has the test write the file.
const UPDATE: &str = "CNNVIDEO_UPDATE_PLUGIN_CACHE";
/// Name of the plugin.
const PLUGIN: &str = "cnnvideo";

fn path() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/docs/gst_plugins_cache.json").into()
}

/// Returns the elements of the plugin as JSON.
fn elements() -> Value {
    init();
    let features = gst::Registry::get().features_by_plugin(PLUGIN);
    let factories = features.into_iter().filter_map(|f| f.downcast::<gst::ElementFactory>().ok());
    let elements: Map<_, _> =
        factories.map(|factory| (factory.name().to_string(), element(&factory))).collect();
    assert_eq!(elements.len(), 8, "{:?}", elements.keys());
    elements.into()
}

fn element(factory: &gst::ElementFactory) -> Value {
    let factory = factory.load().unwrap();
    let kind = factory.element_type();
    let class = glib::Class::<gst::Element>::from_type(kind).unwrap();
    let pads: Map<_, _> = class
        .pad_template_list()
        .into_iter()
        .map(|template| {
            let pad = json!({
                "caps": template.caps().to_string(),
                "direction": format!("{:?}", template.direction()).to_lowercase(),
                "presence": format!("{:?}", template.presence()).to_lowercase(),
            });
            (template.name_template().to_owned(), pad)
        })
        .collect();
    // Those of base classes depend on GStreamer's version.
    let own = class.list_properties();
    let own = own.iter().filter(|property| property.owner_type() == kind);
    let properties: Map<_, _> =
        own.map(|property| (property.name().to_owned(), describe(property))).collect();
    json!({
        "klass": factory.metadata("klass"),
        "rank": i32::from(factory.rank()),
        "pad-templates": pads,
        "properties": properties,
        "signals": signals(kind),
    })
}

/// Returns the types of the arguments and of the result of each signal.
fn signals(kind: glib::Type) -> Value {
    let names = ["add-seed", "add-stroke", "add-box", "grow", "undo", "clear"];
    let signals: Map<_, _> = names
        .into_iter()
        .filter_map(|name| {
            let query = glib::subclass::SignalId::lookup(name, kind)?.query();
            let types: Vec<_> = query.param_types().iter().map(|t| t.type_().name()).collect();
            let value = json!({ "args": types, "return-type": query.return_type().type_().name() });
            Some((name.to_owned(), value))
        })
        .collect();
    signals.into()
}

/// Returns type, range, default and flags of a property.
fn describe(property: &glib::ParamSpec) -> Value {
    let flags = property.flags();
    let mutable = [
        (gst::PARAM_FLAG_MUTABLE_PLAYING, "playing"),
        (gst::PARAM_FLAG_MUTABLE_PAUSED, "paused"),
        (gst::PARAM_FLAG_MUTABLE_READY, "ready"),
    ];
    let mutable = mutable.into_iter().find(|(flag, _)| flags.contains(*flag));
    let mut value = json!({
        "type": property.value_type().name(),
        "readable": flags.contains(glib::ParamFlags::READABLE),
        "writable": flags.contains(glib::ParamFlags::WRITABLE),
        "construct-only": flags.contains(glib::ParamFlags::CONSTRUCT_ONLY),
        "controllable": flags.contains(gst::PARAM_FLAG_CONTROLLABLE),
        "mutable": mutable.map_or("null", |(_, state)| state),
        "default": default(property),
    });
    if let Some([minimum, maximum]) = range(property) {
        value["min"] = minimum.into();
        value["max"] = maximum.into();
    }
    if let Some(values) = values(property) {
        value["values"] = values;
    }
    value
}

/// Returns the default value as text, `None` for a structure that is not set.
fn default(property: &glib::ParamSpec) -> Option<String> {
    let value = property.default_value();
    let is_unset = value.get::<Option<gst::Structure>>().is_ok_and(|value| value.is_none());
    if is_unset { None } else { value.serialize().ok().map(|text| text.to_string()) }
}

/// Returns the least and the largest value of a number.
fn range(property: &glib::ParamSpec) -> Option<[String; 2]> {
    macro_rules! of {
        ($($kind:ident),*) => {
            $(if let Some(p) = property.downcast_ref::<glib::$kind>() {
                return Some([p.minimum().to_string(), p.maximum().to_string()]);
            })*
        };
    }
    of!(
        ParamSpecInt,
        ParamSpecUInt,
        ParamSpecInt64,
        ParamSpecUInt64,
        ParamSpecFloat,
        ParamSpecDouble
    );
    None
}

/// Returns the numbers of the values of an enum or of flags, by their short names.
fn values(property: &glib::ParamSpec) -> Option<Value> {
    let kind = property.value_type();
    let values: Map<_, _> = if let Some(class) = glib::EnumClass::with_type(kind) {
        class.values().iter().map(|v| (v.nick().to_owned(), v.value().into())).collect()
    } else if let Some(class) = glib::FlagsClass::with_type(kind) {
        class.values().iter().map(|v| (v.nick().to_owned(), v.value().into())).collect()
    } else {
        return None;
    };
    Some(values.into())
}

/// Adds the differences of two values to a list of lines.
fn compare(place: &str, stored: &Value, found: &Value, lines: &mut Vec<String>) {
    match (stored, found) {
        (Value::Object(stored), Value::Object(found)) => {
            for name in stored.keys().chain(found.keys().filter(|name| !stored.contains_key(*name)))
            {
                let place = format!("{place}/{name}");
                match (stored.get(name), found.get(name)) {
                    (Some(a), Some(b)) => compare(&place, a, b, lines),
                    (Some(_), None) => lines.push(format!("removed: {place}")),
                    _ => lines.push(format!("added: {place}")),
                }
            }
        }
        (a, b) if a != b => lines.push(format!("changed: {place}: {a} is now {b}")),
        _ => (),
    }
}

#[test]
fn elements_are_those_of_the_plugin_cache() {
    let found = json!({ PLUGIN: { "elements": elements() } });
    if std::env::var_os(UPDATE).is_some() {
        let text = serde_json::to_string_pretty(&found).unwrap() + "\n";
        fs::write(path(), text).unwrap();
        return;
    }
    let text = fs::read_to_string(path()).expect("docs/gst_plugins_cache.json");
    let mut lines = Vec::new();
    compare("", &serde_json::from_str(&text).unwrap(), &found, &mut lines);
    assert!(
        lines.is_empty(),
        "the elements differ from docs/gst_plugins_cache.json:\n{}\n\
         Pipelines and applications depend on what is there: a removal or a change of a name, type, \
         default or range breaks them and needs a reason and an entry in CHANGELOG.md; an addition \
         is fine. Then write the file anew:\n\
         {UPDATE}=1 cargo test --test elements -- plugin_cache::",
        lines.join("\n")
    );
}

#[test]
fn differences_are_listed() {
    let mut lines = Vec::new();
    let stored = json!({ "a": { "b": 1, "c": 2 }, "d": 3 });
    compare("", &stored, &json!({ "a": { "b": 1, "c": 4 }, "e": 5 }), &mut lines);
    assert_eq!(lines, ["changed: /a/c: 2 is now 4", "removed: /d", "added: /e"]);
    lines.clear();
    compare("", &stored, &stored, &mut lines);
    assert!(lines.is_empty());
}
