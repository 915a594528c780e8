//! Action signals, by which applications add and remove seeds.

use glib::{
    prelude::*,
    subclass::{Signal, prelude::*},
};

use super::imp::CnnSegment;
use super::input::Command;
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
                let (element, x, y, label) =
                    (element(args)?, get(args, 1)?, get(args, 2)?, get(args, 3)?);
                Some(element.point(label, |share| Some(Shape::Point(share([x, y])))).to_value())
            })
            .build(),
        Signal::builder("add-stroke")
            .param_types([gst::Array::static_type(), label, double])
            .return_type::<bool>()
            .action()
            .class_handler(|args| {
                let (element, label, radius) =
                    (element(args)?, get(args, 2)?, get::<f64>(args, 3)?);
                let points: gst::Array = get(args, 1)?;
                let numbers: Vec<f64> =
                    points.iter().filter_map(|value| value.get().ok()).collect();
                let whole = numbers.len() == points.len()
                    && numbers.len() >= 2
                    && numbers.len().is_multiple_of(2);
                let added = whole
                    && element.point(label, |share| {
                        let [from, to] = [share([0.0, 0.0]), share([radius, 0.0])];
                        let points = numbers.chunks_exact(2).map(|p| share([p[0], p[1]])).collect();
                        Some(Shape::Stroke { points, radius: to[0] - from[0] })
                    });
                Some(added.to_value())
            })
            .build(),
        Signal::builder("add-box")
            .param_types([double, double, double, double, label])
            .return_type::<bool>()
            .action()
            .class_handler(|args| {
                let (element, label) = (element(args)?, get::<u32>(args, 5)?);
                let (x0, y0, x1, y1) = (get(args, 1)?, get(args, 2)?, get(args, 3)?, get(args, 4)?);
                let shape = |share: &dyn Fn([f64; 2]) -> [f32; 2]| {
                    Some(Shape::Box(share([x0, y0]), share([x1, y1])))
                };
                // A box selects a region, so there is no box for the background.
                Some((label > 0 && element.point(label, shape)).to_value())
            })
            .build(),
        Signal::builder("grow")
            .param_types([label, i32::static_type()])
            .return_type::<bool>()
            .action()
            .class_handler(|args| {
                let (element, label, steps) = (element(args)?, get::<u32>(args, 1)?, get(args, 2)?);
                Some((label > 0 && element.point(label, |_| Some(Shape::Steps(steps)))).to_value())
            })
            .build(),
        command("undo", Command::Undo),
        command("clear", Command::Clear),
    ]
}

/// Returns an action signal without arguments that queues a command.
fn command(name: &'static str, command: Command) -> Signal {
    Signal::builder(name)
        .action()
        .class_handler(move |args| {
            element(args)?.command(command.clone());
            None
        })
        .build()
}

/// Returns the element that a signal was emitted on.
fn element(args: &[glib::Value]) -> Option<glib::subclass::ObjectImplRef<CnnSegment>> {
    Some(get::<super::CnnSegment>(args, 0)?.imp().ref_counted())
}

/// Returns the argument of a signal at an index, `None` if it has another type.
fn get<'a, T: glib::value::FromValue<'a>>(args: &'a [glib::Value], at: usize) -> Option<T> {
    args.get(at)?.get().ok()
}
