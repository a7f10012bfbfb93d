// The passes over planes: vectors go along the pixels of a row, the channels one after the other.
//
// Pixels are located a run at a time; then functions that know only of the kernel read them, all
// channels of a block, interior and boundary pixels apart.
#pragma once

#include "copies.h"
#include "interpolate.h"
#include "map_gradient.h"
#include "prefetch.h"

namespace stn::STN_SET {
namespace {

// Where the pixels of a run read: of whole rows, or of a part of one. They lie side by side in the
// output, so that vectors go on from row to row.
template <class T, int D>
struct Run {
  static constexpr int kRoom = kRun + kGroup;
  struct Group {
    int at, count;  // its first pixel in the run, and how many
    int64_t r, j;   // that pixel's row and column
    bool off;       // they all read the fill value
  };
  int64_t first, r, j;  // its first pixel in the output: the place, the row, the column
  int count = 0, boundaries = 0;
  bool keeps_places = false;
  alignas(64) int32_t index[kRoom];  // of the base
  alignas(64) T t[D][kRoom];         // the fractions
  alignas(64) T at[D][kRoom];        // places in the output, about its centre, if `keeps_places`
  Group groups[kRun];                // those with boundary pixels: their indices are of no use

  // Calls work(first, last) for the interior pixels in between. There may be none, and planes too
  // small to have any.
  template <class F>
  STN_INLINE void for_interior(const F& work) const {
    int from = 0;
    for (int k = 0; k < boundaries; ++k) {
      if (from < groups[k].at) work(from, groups[k].at);
      from = groups[k].at + groups[k].count;
    }
    if (from < count) work(from, count);
  }
};

// What interior pixels are read with; copied into the functions that do, where nothing that is
// stored can change it, so that it stays in registers.
template <class T, int D>
struct Reading {
  Strides strides;
  Prefetcher<T, D> prefetcher;
  const T* planes;
  int64_t step, count;  // from plane to plane, planes
  const int32_t* index;
  const T (*t)[Run<T, D>::kRoom];

  STN_INLINE void fractions(int n, Vec<T>* at) const {
    STN_UNROLL
    for (int k = 0; k < D; ++k) at[k] = load<Vec<T>>(t[k] + n);
  }
  // With pixel n of the run.
  template <bool Write = false>
  STN_INLINE void prefetch(const T* plane, int n, int pixels = kLanes<T>) const {
    prefetcher.template some<Write>(plane - planes, n / kLanes<T>, pixels / kLanes<T>);
  }
};

// What pixels are read with: the rows' state, and the planes of a block of channels.
template <class T, int D>
struct Planar {
  const Call<T>& call;
  const int64_t b, width;
  const Strides strides;
  const TapLocator<T, D> locator;
  Coordinates<T, D> coordinates;
  Run<T, D> run;
  const T* planes = nullptr;  // the tensor's own, or copies
  int64_t step = 0, count = 0;
  int64_t from = 0, to = 0;  // what is copied of the slowest axis
  const bool all_interior;   // whatever the row
  // a step is a vector of pixels; of the next plane, if planes are copied one by one
  Prefetcher<T, D> prefetcher;
  T fills[kMostPlanes];
  T *copy, *rows;  // memory for copies, and for runs where they are not read or written in place

  STN_NOINLINE Planar(const Call<T>& call, int64_t b)
      : call(call),
        b(b),
        width(call.p.out_size[0]),
        strides{call.stride(), call.slice()},
        locator(call),
        coordinates(call, b),
        all_interior(locator.axes[0].clamps && call.affine() && coordinates.finite()) {
    const size_t copies = call.pad ? copy_size(call, call.block) : 0;
    const size_t more = call.as_stored() ? 0 : size_t((kRun + kGroup) * call.block);
    copy = static_cast<T*>(scratch((copies + more) * sizeof(T)));
    rows = copy + copies;
  }

  // Channels [low, high), for output rows [first, last).
  STN_NOINLINE void open(int64_t low, int64_t high, int64_t first, int64_t last) {
    count = high - low;
    if (call.pad) {
      if (from == to) rows_read(coordinates, first, last, from, to);
      extend(call, b, low, high, from, to, copy);
      planes = copy, step = call.copied();
      if (call.as_stored() && count == 1) {
        prefetcher.from = static_cast<const T*>(call.image) +
                          (call.image_of(b) * call.p.channels + high) * call.plane();
        prefetcher.share = (call.plane() * kLanes<T> + call.out_plane() - 1) / call.out_plane();
      }
    } else {
      step = call.plane();
      planes =
          static_cast<const T*>(call.image) + (call.image_of(b) * call.p.channels + low) * step;
      if (call.prefetches) prefetcher.begin(coordinates, first);
    }
    for (int64_t c = 0; c < count; ++c) fills[c] = call.fill_of(b, low + c);
  }

  // Calls work() for the runs of rows [first, last).
  template <class F>
  STN_INLINE void for_runs(int64_t first, int64_t last, const F& work) {
    if (call.plane_by_plane && run.count) return work();  // located for the plane before
    int64_t r = first, j = 0;
    while (r < last) {
      locate_run(r, j, last);
      work();
    }
  }

  STN_INLINE Reading<T, D> reading() const {
    return {strides, prefetcher, planes, step, count, run.index, run.t};
  }
  // Where the run is in channel c of a tensor like the output, as_stored.
  STN_INLINE int64_t place(int64_t c) const {
    return (b * call.p.channels + c) * call.out_plane() + run.first;
  }
  // The run in a tensor like the output; where it is, or a copy of it.
  STN_NOINLINE const T* run_of(const void* tensor, int64_t low, int64_t& run_step) {
    if (call.as_stored()) {
      run_step = call.out_plane();
      return static_cast<const T*>(tensor) + place(low);
    }
    stored_pixels<T, false>(call, tensor, call.out_plane(), b, run.first, run.count, low,
                            low + count, rows, Steps{1, kRun + kGroup});
    run_step = kRun + kGroup;
    return rows;
  }

  // Calls work(first pixel in the run, coordinates, pixels) for the vectors of boundary groups, and
  // off(first pixel in the run, pixels) for groups that are off the image.
  template <class F, class G>
  STN_INLINE void for_boundary(const F& work, const G& off) {
    for (int k = 0; k < run.boundaries; ++k) {
      const auto& group = run.groups[k];
      if (group.off) {
        off(group.at, group.count);
        continue;
      }
      coordinates.row(group.r);
      for (int v = 0; v < group.count; v += kLanes<T>) {
        const int remaining = group.count - v < kLanes<T> ? group.count - v : kLanes<T>;
        Vec<T> u[D];
        coordinates.at(group.j + v, remaining, u);
        work(group.at + v, u, remaining);
      }
    }
  }

  template <class I>
  static STN_INLINE void store_group(I* to, I value) {
    for (int k = 0; k < kGroup; ++k) to[k] = value;
  }

 private:
  // The next run, from column j of row r on; they become those behind it.
  STN_NOINLINE void locate_run(int64_t& r, int64_t& j, int64_t last) {
    run.count = run.boundaries = 0;
    run.first = r * width + j, run.r = r, run.j = j;
    do {
      const int64_t fitting = (kRun - run.count) / width;
      const int64_t rows = j || fitting < 1 || !all_interior ? 1 : least(fitting, last - r);
      const int n = int(least(width - j, kRun));
      if (all_interior) {
        locate_interior(r, rows, j, n);
      } else {
        locate_any(r, j, n);
      }
      j = j + n < width ? j + n : 0;
      r += j ? 0 : rows;
    } while (r < last && j == 0 && run.count + width <= kRun);
    // whole vectors read on behind the run
    store_group(run.index + run.count, locator.safe);
    for (int k = 0; k < D && run.keeps_places; ++k) store_group(run.at[k] + run.count, T(0));
    if (call.prefetches) {
      const int64_t vectors = (run.count + kLanes<T> - 1) / kLanes<T>;
      prefetcher.advance(coordinates, r + kPrefetchRows, planes, 1, vectors);
    }
  }

  // The `n` pixels from column j of row r on, as the next of the run. Pixels go with their group of
  // sixteen, if one is a boundary pixel: which ones do does not depend on the vectors' width.
  STN_NOINLINE void locate_any(int64_t r, int64_t j, int n) {
    coordinates.row(r);
    if (run.keeps_places) keep_places(r, j, n);
    for (int first = 0; first < n; first += kGroup) {
      bool interior = true, off = true;
      STN_UNROLL
      for (int v = 0; v < kGroup; v += kLanes<T>) {
        Vec<T> u[D], t[D];
        Int<T> index;
        coordinates.at(j + first + v, n - first - v, u);
        if (locator.interior(u, index, t)) {
          off = false;
        } else {
          interior = false;
          off &= locator.off(u);
          index = Int<T>{} + locator.safe;
          for (int k = 0; k < D; ++k) t[k] = Vec<T>{};
        }
        store(run.index + run.count + first + v, index);
        STN_UNROLL
        for (int k = 0; k < D; ++k) store(run.t[k] + run.count + first + v, t[k]);
      }
      if (!interior) {
        const int count = n - first < kGroup ? n - first : kGroup;
        run.groups[run.boundaries++] = {run.count + first, count, r, j + first, off};
      }
    }
    run.count += n;
  }

  // Whole rows from row r on, or a part of one, where all pixels are interior.
  STN_NOINLINE void locate_interior(int64_t r, int64_t rows, int64_t j, int n) {
    const TapLocator<T, D> axes = locator;  // in registers: nothing that is stored can change it
    Vec<T> slope[D];
    STN_UNROLL
    for (int k = 0; k < D; ++k) slope[k] = splat(coordinates.slope_of(k));
    const Vec<T> first = coordinates.lanes + T(j);
    for (int64_t i = 0; i < rows; ++i) {
      coordinates.row(r + i);
      if (run.keeps_places) keep_places(r + i, j, n);
      Vec<T> start[D];
      STN_UNROLL
      for (int k = 0; k < D; ++k) start[k] = splat(coordinates.start[k]);
      Vec<T> across = first;
      for (int at = run.count; at < run.count + n; at += kLanes<T>) {
        Vec<T> u[D], t[D];
        Int<T> index;
        STN_UNROLL
        for (int k = 0; k < D; ++k) u[k] = across * slope[k] + start[k];
        axes.clamped(u, index, t);
        store(run.index + at, index);
        STN_UNROLL
        for (int k = 0; k < D; ++k) store(run.t[k] + at, t[k]);
        across += kLanes<T>;
      }
      run.count += n;
    }
  }

  STN_INLINE void keep_places(int64_t r, int64_t j, int n) {
    const Vec<T> y = splat(T(coordinates.y_of(r))), z = splat(T(coordinates.z_of(r)));
    for (int k = 0; k < n; k += kLanes<T>) {
      store(run.at[0] + run.count + k, coordinates.lanes + T(j + k));
      store(run.at[1] + run.count + k, y);
      if (D == 3) store(run.at[D - 1] + run.count + k, z);
    }
  }
};

// ---- What knows of the kernel: W taps along an axis ---------------------------------------------

// The values of all channels of boundary pixels: work(channel, taps, weights, values), or nothing()
// where there is but the fill value.
template <class T, int D, int W, class F, class G>
STN_INLINE void read_boundary(const Planar<T, D>& p, const Vec<T>* u, bool slopes, const F& work,
                              const G& nothing) {
  Taps<T, D> taps;
  p.locator.boundary(u, taps);
  const Weights<T, D, W> weights(taps.t, slopes);
  const Indices<T> indices(taps.index);
  BoundaryTaps<T, D, W> boundary(p.call);
  if (!p.call.pad && !boundary.find(p.call, taps)) return nothing();
  for (int64_t c = 0; c < p.count; ++c) {
    Vec<T> values[kTaps<D, W>];
    if (p.call.pad) {
      load_taps<T, D, W>(p.strides, indices.at, p.planes + c * p.step, values);
    } else {
      boundary.load(p.planes + c * p.step, p.fills[c], values);
    }
    work(c, taps, weights, values);
  }
}

// Interior pixels [first, last) of the run.
template <class T, int D, int W, bool Gather>
STN_NOINLINE void forward_interior(const Planar<T, D>& p, int first, int last, T* to,
                                   int64_t step) {
  const Reading<T, D> reading = p.reading();
  const T* plane = reading.planes;
  for (int64_t c = 0; c < reading.count; ++c, plane += reading.step, to += step) {
    for (int n = first; n < last; n += kLanes<T>) {
      Vec<T> t[D], values[kTaps<D, W>];
      reading.fractions(n, t);
      const Weights<T, D, W> weights(t, false);
      reading.prefetch(plane, n);
      load_taps<T, D, W, Gather>(reading.strides, reading.index + n, plane, values);
      __builtin_prefetch(to + n + kPrefetchDistance<T>, 1, 2);
      store_some(to + n, weighted<Vec<T>, D, W>(values, weights.w), last - n);
    }
  }
}
// A vector of boundary pixels, `remaining` of them.
template <class T, int D, int W>
STN_NOINLINE void forward_boundary(const Planar<T, D>& p, const Vec<T>* u, T* to, int64_t step,
                                   int remaining) {
  read_boundary<T, D, W>(
      p, u, false,
      [&](int64_t c, const Taps<T, D>& taps, const Weights<T, D, W>& weights,
          const Vec<T>* values) {
        const Vec<T> value = weighted<Vec<T>, D, W>(values, weights.w);
        store_some(to + c * step, to_mask<T>(taps.invalid) ? splat<T>(p.fills[c]) : value,
                   remaining);
      },
      [&]() {
        for (int64_t c = 0; c < p.count; ++c) {
          store_some(to + c * step, splat<T>(p.fills[c]), remaining);
        }
      });
}

// dL/du of interior pixels [first, last) of the run, summed over channels; `add`: to what is there.
template <class T, int D>
using Slopes = T[D][Run<T, D>::kRoom];

template <class T, int D, int W>
STN_INLINE void add_slopes(const Vec<T>* values, const Weights<T, D, W>& weights, const Vec<T>& g,
                           bool add, Vec<T>* slopes) {
  STN_UNROLL
  for (int k = 0; k < D; ++k) {
    const Vec<T> slope = g * sloped<Vec<T>, D, W>(k, values, weights.w, weights.slope);
    slopes[k] = add ? slopes[k] + slope : slope;
  }
}
template <class T, int D, int W, bool Gather>
STN_NOINLINE void slopes_interior(const Planar<T, D>& p, int first, int last, const T* grad,
                                  int64_t step, bool add, Slopes<T, D>& slopes) {
  const Reading<T, D> reading = p.reading();
  const T* plane = reading.planes;
  for (int64_t c = 0; c < reading.count; ++c, plane += reading.step, grad += step, add = true) {
    for (int n = first; n < last; n += kLanes<T>) {
      Vec<T> t[D], values[kTaps<D, W>], slope[D];
      reading.fractions(n, t);
      for (int k = 0; k < D; ++k) {
        if (add) slope[k] = load<Vec<T>>(slopes[k] + n);
      }
      const Weights<T, D, W> weights(t, true);
      reading.prefetch(plane, n);
      load_taps<T, D, W, Gather>(reading.strides, reading.index + n, plane, values);
      __builtin_prefetch(grad + n + kPrefetchDistance<T>, 0, 2);
      add_slopes<T, D, W>(values, weights, load_some(grad + n, last - n), add, slope);
      for (int k = 0; k < D; ++k) store_some(slopes[k] + n, slope[k], last - n);
    }
  }
}
template <class T, int D, int W>
STN_NOINLINE void slopes_boundary(const Planar<T, D>& p, const Vec<T>* u, const T* grad,
                                  int64_t step, int remaining, Vec<T>* slopes) {
  for (int k = 0; k < D; ++k) slopes[k] = Vec<T>{};
  read_boundary<T, D, W>(
      p, u, true,
      [&](int64_t c, const Taps<T, D>& taps, const Weights<T, D, W>& weights,
          const Vec<T>* values) {
        const Vec<T> g = load_some(grad + c * step, remaining);
        add_slopes<T, D, W>(values, weights, g, c > 0, slopes);
        if (c + 1 < p.count) return;
        for (int k = 0; k < D; ++k) slopes[k] = taps.reflected(k, slopes[k]);
      },
      []() {});
}

// ---- The passes ---------------------------------------------------------------------------------

// The functions of a pass that know of the kernel.
template <class T, int D>
struct PlanarForward {
  decltype(&forward_interior<T, D, 2, false>) interior;
  decltype(&forward_boundary<T, D, 2>) boundary;

  explicit PlanarForward(const Plan& p) {
    choose<2>();
    if constexpr (D == 2) {
      if (p.kernel == kCubic) choose<4>();
    }
  }
  template <int W>
  STN_INLINE void choose() {
    interior = forward_interior<T, D, W, false>;
    boundary = forward_boundary<T, D, W>;
    if constexpr (kMayGather<T>) {
      if (gathers()) interior = forward_interior<T, D, W, true>;
    }
  }
};
template <class T, int D>
struct PlanarSlopes {
  decltype(&slopes_interior<T, D, 2, false>) interior;
  decltype(&slopes_boundary<T, D, 2>) boundary;

  explicit PlanarSlopes(const Plan& p) {
    choose<2>();
    if constexpr (D == 2) {
      if (p.kernel == kCubic) choose<4>();
    }
  }
  template <int W>
  STN_INLINE void choose() {
    interior = slopes_interior<T, D, W, false>;
    boundary = slopes_boundary<T, D, W>;
    if constexpr (kMayGather<T>) {
      if (gathers()) interior = slopes_interior<T, D, W, true>;
    }
  }
};

template <class T, int D>
void planar_forward(const Call<T>& call, int64_t b, int64_t first, int64_t last, int64_t low,
                    int64_t high) {
  const PlanarForward<T, D> read(call.p);
  Planar<T, D> p(call, b);
  for (int64_t block = low; block < high; block += call.block) {
    const int64_t end = least(block + call.block, high);
    p.open(block, end, first, last);
    p.for_runs(first, last, [&]() {
      const bool in_place = call.as_stored();
      const int64_t step = in_place ? call.out_plane() : kRun + kGroup;
      T* to = in_place ? static_cast<T*>(call.out) + p.place(block) : p.rows;
      p.run.for_interior([&](int from, int end) { read.interior(p, from, end, to, step); });
      p.for_boundary([&](int n, const Vec<T>* u,
                         int remaining) { read.boundary(p, u, to + n, step, remaining); },
                     [&](int n, int count) {
                       for (int64_t c = 0; c < p.count; ++c) {
                         for (int k = 0; k < count; ++k) to[c * step + n + k] = p.fills[c];
                       }
                     });
      if (in_place) return;
      stored_pixels<T, true>(call, call.out, call.out_plane(), b, p.run.first, p.run.count, block,
                             end, to, Steps{1, step});
    });
  }
}

template <class T, int D>
void planar_map_gradient(const Call<T>& call, int64_t b, int64_t first, int64_t last,
                         double* part) {
  const PlanarSlopes<T, D> read(call.p);
  Planar<T, D> p(call, b);
  MapGradient<T, D> gradient(call, p.coordinates, b);
  p.run.keeps_places = call.affine();
  alignas(64) Slopes<T, D> slopes;
  constexpr int step = Run<T, D>::kRoom;
  for (int64_t block = 0; block < call.p.channels; block += call.block) {
    p.open(block, least(block + call.block, call.p.channels), first, last);
    gradient.add = block > 0;
    const bool add = call.plane_by_plane && block > 0;
    p.for_runs(first, last, [&]() {
      int64_t grad_step;
      const T* grad = p.run_of(call.grad, block, grad_step);
      p.run.for_interior(
          [&](int from, int end) { read.interior(p, from, end, grad, grad_step, add, slopes); });
      p.for_boundary(
          [&](int n, const Vec<T>* u, int remaining) {
            Vec<T> slope[D];
            read.boundary(p, u, grad + n, grad_step, remaining, slope);
            for (int k = 0; k < D; ++k) {
              if (add) slope[k] += load_some(slopes[k] + n, remaining);
              store_some(slopes[k] + n, slope[k], remaining);
            }
          },
          [&](int n, int count) {
            for (int k = 0; k < D; ++k) {
              for (int i = 0; i < count; ++i) slopes[k][n + i] = 0;
            }
          });
      if (call.plane_by_plane && block + 1 < call.p.channels) return;
      if (p.run.keeps_places) {
        for (int k = 0; k < D; ++k) p.store_group(slopes[k] + p.run.count, T(0));
        return gradient.run(p.run.count, slopes[0], p.run.at[0], step);
      }
      int64_t r = p.run.r, j = p.run.j;
      for (int n = 0, m; n < p.run.count; n += m, ++r, j = 0) {
        m = int(least(p.width - j, p.run.count - n));
        if (call.p.projective) p.coordinates.row(r);
        gradient.pixels(r, j, m, slopes[0] + n, step);
      }
    });
  }
  gradient.close(part);
}

}  // namespace
}  // namespace stn::STN_SET
