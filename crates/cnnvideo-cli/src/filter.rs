// SPDX-License-Identifier: MIT OR Apache-2.0

//! The elements that process the video, from the command line.

use glib::{ParamFlags, prelude::*};
use gst::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Result, usage};

/// Elements that process the video. Building them twice gives the same elements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Filter {
    /// One element and its properties.
    Element {
        /// Name of the element.
        factory: String,
        /// Names and values of properties.
        properties: Vec<(String, String)>,
    },
    /// Elements in the syntax of gst-launch-1.0.
    Description(String),
}

impl Filter {
    /// Returns an element with properties from texts such as `strength=0.8`.
    ///
    /// # Errors
    /// A text is not of this form, or not a property of the element with a value in its range.
    pub(crate) fn element(factory: &str, settings: &[String]) -> Result<Self> {
        let split = |setting: &String| {
            let (name, value) = setting.split_once('=').ok_or_else(|| {
                usage!("--set {setting}: write PROPERTY=VALUE, for example strength=0.8")
            })?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        };
        let properties = settings.iter().map(split).collect::<Result<Vec<_>>>()?;
        let filter = Self::Element { factory: factory.to_owned(), properties };
        filter.build()?;
        Ok(filter)
    }

    /// Returns the elements of a description.
    ///
    /// # Errors
    /// It is not a chain of elements with one input and one output.
    pub(crate) fn description(text: &str) -> Result<Self> {
        let filter = Self::Description(text.to_owned());
        let element = filter.build()?;
        for pad in ["sink", "src"] {
            if element.static_pad(pad).is_none() {
                return Err(usage!(
                    "--filter \"{text}\": its elements must form a chain with one input and one \
                     output, for example \"cnndenoise ! cnnsmooth\""
                ));
            }
        }
        Ok(filter)
    }

    /// Adds a property if it is not set yet and the element has it.
    pub(crate) fn set_default(&mut self, name: &str, value: &str) {
        if let Self::Element { factory, properties } = self
            && properties.iter().all(|(set, _)| set != name)
            && let Ok(element) = gst::ElementFactory::make(factory).build()
            && element.find_property(name).is_some()
        {
            properties.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Returns what the messages call the filter.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Element { factory, .. } => factory,
            Self::Description(text) => text,
        }
    }

    /// Creates the elements.
    ///
    /// # Errors
    /// As [`Self::element`] and [`Self::description`].
    pub(crate) fn build(&self) -> Result<gst::Element> {
        match self {
            Self::Element { factory, properties } => {
                let element = gst::ElementFactory::make(factory).build()?;
                for (name, value) in properties {
                    set(&element, name, value)?;
                }
                Ok(element)
            }
            Self::Description(text) => gst::parse::bin_from_description(text, true)
                .map(Cast::upcast)
                .map_err(|err| usage!("--filter \"{text}\": {}", err.message())),
        }
    }
}

/// Returns the elements of a filter, from its input to its output; the filter itself if it is no
/// bin.
pub(crate) fn elements_of(filter: &gst::Element) -> Vec<gst::Element> {
    let Some(bin) = filter.downcast_ref::<gst::Bin>() else { return vec![filter.clone()] };
    let mut elements: Vec<_> = bin.iterate_sorted().into_iter().flatten().collect();
    // From the sinks to the sources.
    elements.reverse();
    elements.iter().flat_map(elements_of).collect()
}

/// Sets a property from text.
fn set(element: &gst::Element, name: &str, text: &str) -> Result<()> {
    let own = |spec: &glib::ParamSpec| {
        spec.flags().contains(ParamFlags::WRITABLE) && !["name", "parent"].contains(&spec.name())
    };
    let Some(spec) = element.find_property(name).filter(own) else {
        let all = element.list_properties();
        let names: Vec<_> = all.iter().filter(|spec| own(spec)).map(|spec| spec.name()).collect();
        return Err(usage!(
            "--set {name}={text}: there is no property {name} to set; the \
             properties are {}",
            names.join(", ")
        ));
    };
    let value = glib::Value::deserialize_with_pspec(text, &spec)
        .map_err(|_| usage!("--set {name}={text}: not a value of {name}{}", range(&spec)))?;
    // GLib would change a value out of range silently.
    let number = value.transform::<f64>().ok().and_then(|number| number.get::<f64>().ok());
    if let (Some((low, high)), Some(number)) = (bounds(&spec), number)
        && !(low..=high).contains(&number)
    {
        return Err(usage!("--set {name}={text}: out of range{}", range(&spec)));
    }
    element.set_property_from_value(name, &value);
    Ok(())
}

/// Returns the smallest and the largest value of a property that is a number.
fn bounds(spec: &glib::ParamSpec) -> Option<(f64, f64)> {
    macro_rules! of {
        ($($kind:ty),*) => {
            $(if let Some(spec) = spec.downcast_ref::<$kind>() {
                return Some((spec.minimum() as f64, spec.maximum() as f64));
            })*
        };
    }
    of!(
        glib::ParamSpecFloat,
        glib::ParamSpecDouble,
        glib::ParamSpecInt,
        glib::ParamSpecUInt,
        glib::ParamSpecInt64,
        glib::ParamSpecUInt64
    );
    None
}

/// Returns the values that a property takes, to append to a sentence.
fn range(spec: &glib::ParamSpec) -> String {
    if let Some((low, high)) = bounds(spec) {
        format!("; it is a number from {low} to {high}")
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecEnum>() {
        let names: Vec<_> =
            spec.enum_class().values().iter().map(|value| value.nick().to_owned()).collect();
        format!("; it is one of {}", names.join(", "))
    } else if spec.is::<glib::ParamSpecBoolean>() {
        "; it is true or false".to_owned()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the error of settings of `cnndenoise`, or an empty text.
    fn error(settings: &[&str]) -> String {
        crate::init().unwrap();
        let settings: Vec<_> = settings.iter().map(|text| (*text).to_owned()).collect();
        Filter::element("cnndenoise", &settings)
            .err()
            .map(|err| err.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn settings_are_checked() {
        assert_eq!(error(&["strength=0.8", "quality=best", "temporal=false", "threads=2"]), "");
        for (setting, expected) in [
            ("strength", "PROPERTY=VALUE"),
            ("strengh=1", "no property strengh"),
            ("strength=3", "from 0 to 2"),
            ("strength=nan", "from 0 to 2"),
            ("strength=x", "from 0 to 2"),
            ("threads=-1", "from 0 to 64"),
            ("threads=65", "from 0 to 64"),
            ("quality=good", "one of fast, balanced, best, auto"),
            ("temporal=perhaps", "true or false"),
            ("stats=x", "no property stats"),
            ("parent=x", "no property parent"),
            ("name=x", "no property name"),
        ] {
            let error = error(&[setting]);
            assert!(error.contains(expected), "{setting}: {error}");
        }
    }

    #[test]
    fn filters_are_chains() {
        crate::init().unwrap();
        assert!(Filter::description("cnndenoise strength=0.5 ! cnnsmooth").is_ok());
        for text in ["nothing", "cnndenoise strength=x=y !", "", "fakesink", "videotestsrc"] {
            let error = Filter::description(text).unwrap_err().to_string();
            assert!(error.contains("--filter"), "{text}: {error}");
        }
    }

    #[test]
    fn defaults_do_not_replace_settings() {
        crate::init().unwrap();
        let mut filter = Filter::element("cnndenoise", &["threads=3".to_owned()]).unwrap();
        filter.set_default("threads", "2");
        filter.set_default("no-such-property", "2");
        let Filter::Element { properties, .. } = filter else { unreachable!() };
        assert_eq!(properties, [("threads".to_owned(), "3".to_owned())]);
    }
}
