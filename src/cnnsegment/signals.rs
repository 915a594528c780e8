// SPDX-License-Identifier: MIT OR Apache-2.0

//! Action signals, by which applications add and remove seeds.

use glib::{
    prelude::*,
    subclass::{Signal, prelude::*},
};

use super::commands::{Command, ToShare};
use super::imp::CnnSegment;
use cnnvideo::segment::Shape;

/// Returns the action signals of the element: `add-seed(x, y, label)`,
/// `add-stroke(points, label, radius)`, `add-box(x0, y0, x1, y1, label)`, `grow(label, steps)`,
/// `undo()` and `clear()`.
///
/// Coordinates and `radius` are pixels of the frame as doubles. `points` is a `GstValueArray` of x,
/// y, x, y and so on. `label` is 1 to 8, or 0 for the background (not with `add-box` and `grow`).
/// The first four return whether the seed was accepted: they need valid arguments and frames of a
/// known size.
pub(super) fn signals() -> Vec<Signal> {
    let (double, label) = (f64::static_type(), u32::static_type());
    vec![
        Signal::builder("add-seed")
            .param_types([double, double, label])
            .return_type::<bool>()
            .action()
            .class_handler(|args| {
                let (x, y, label) = (argument(args, 1), argument(args, 2), argument(args, 3));
                let shape = |to_share: &ToShare<'_>| Some(Shape::Point(to_share([x, y])));
                Some(element(args).add_seed(label, shape).to_value())
            })
            .build(),
        Signal::builder("add-stroke")
            .param_types([gst::Array::static_type(), label, double])
            .return_type::<bool>()
            .action()
            .class_handler(|args| {
                let (label, radius) = (argument(args, 2), argument::<f64>(args, 3));
                let points: gst::Array = argument(args, 1);
                // Dynamic languages pass whole numbers as integers.
                let to_double = |value: &glib::SendValue| value.transform::<f64>().ok()?.get().ok();
                let numbers: Vec<f64> = points.iter().filter_map(to_double).collect();
                let is_valid = numbers.len() == points.len()
                    && numbers.len() >= 2
                    && numbers.len().is_multiple_of(2);
                let shape = |to_share: &ToShare<'_>| {
                    let [from, to] = [to_share([0.0, 0.0]), to_share([radius, 0.0])];
                    let points = numbers.chunks_exact(2).map(|p| to_share([p[0], p[1]])).collect();
                    Some(Shape::Stroke { points, radius: to[0] - from[0] })
                };
                Some((is_valid && element(args).add_seed(label, shape)).to_value())
            })
            .build(),
        Signal::builder("add-box")
            .param_types([double, double, double, double, label])
            .return_type::<bool>()
            .action()
            .class_handler(|args| {
                let label: u32 = argument(args, 5);
                let (x0, y0) = (argument(args, 1), argument(args, 2));
                let (x1, y1) = (argument(args, 3), argument(args, 4));
                let shape = |to_share: &ToShare<'_>| {
                    Some(Shape::Box { corner: to_share([x0, y0]), opposite: to_share([x1, y1]) })
                };
                // A box selects a region, so there is no box for the background.
                Some((label > 0 && element(args).add_seed(label, shape)).to_value())
            })
            .build(),
        Signal::builder("grow")
            .param_types([label, i32::static_type()])
            .return_type::<bool>()
            .action()
            .class_handler(|args| {
                let (label, steps) = (argument::<u32>(args, 1), argument(args, 2));
                let shape = |_: &ToShare<'_>| Some(Shape::Grow(steps));
                Some((label > 0 && element(args).add_seed(label, shape)).to_value())
            })
            .build(),
        command_signal("undo", Command::Undo),
        command_signal("clear", Command::Clear),
    ]
}

/// Returns an action signal without arguments that queues a command.
fn command_signal(name: &'static str, command: Command) -> Signal {
    Signal::builder(name)
        .action()
        .class_handler(move |args| {
            element(args).queue_command(command.clone());
            None
        })
        .build()
}

/// Returns the element that a signal was emitted on.
fn element(args: &[glib::Value]) -> glib::subclass::ObjectImplRef<CnnSegment> {
    argument::<super::CnnSegment>(args, 0).imp().ref_counted()
}

/// Returns the argument of a signal at an index.
fn argument<'a, T: glib::value::FromValue<'a>>(args: &'a [glib::Value], index: usize) -> T {
    args[index].get().expect("GLib checks number and types of a signal's arguments")
}
