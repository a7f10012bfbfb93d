// Where output pixels read: their coordinates on the image, then a pixel and the fraction from
// there.
//
// The arithmetic is that of samplers/eager.py, see there and coordinates.py for why. What differs:
// taps are always neighbours in the image's order. Beyond a reflecting edge, where the right
// neighbour stands on the left, the fraction is reflected instead.
//
// Pixels are interior, if all of their taps are in memory and no padding moves them, or boundary,
// which is everything else and slow.
#pragma once

#include "simd.h"

namespace stn::STN_SET {
namespace {

// Of W taps along an axis those before the base, the pixel at or left of a coordinate.
constexpr int taps_before(int w) { return (w - 1) / 2; }
template <int W>
constexpr int kBefore = taps_before(W);

// Along an axis.
STN_INLINE int taps_of(const Plan& p) { return p.kernel == kCubic ? 4 : 2; }

// Coordinates on the image, in pixels, of the output's pixels.
template <class T, int D>
struct Coordinates {
  const Call<T>& call;
  const T* map;
  double matrix[D + 1][D + 1];  // in pixels, about the output's centre; the last row is the depth
  double middle[D];             // what projection adds, the image's centre
  double centre_y, centre_z;    // the output's
  T slope[D + 1], start[D + 1];
  Vec<T> lanes;
  const T* grid;

  STN_NOINLINE Coordinates(const Call<T>& call, int64_t b)
      : call(call),
        map(call.map_of(b)),
        centre_y(call.axis(1).out_centre),
        centre_z(call.axis(2).out_centre) {
    if (call.p.grid) return;
    // It is exact for the identity, and offsets from the centre are halves and wholes, exact too.
    for (int k = 0; k < call.matrix_rows(); ++k) {
      const T* row = map + k * (D + 1);
      const double half = k < D ? call.axis(k).half : 1;
      for (int j = 0; j < D; ++j) {
        const Axis to = call.axis(j);
        matrix[k][j] = row[j] * to.per_step(half);
      }
      matrix[k][D] = half * row[D];
      if (k == D) break;
      middle[k] = call.axis(k).centre;
      if (!call.p.projective) matrix[k][D] += middle[k];
    }
    lanes = __builtin_convertvector(count_up<T>(), Vec<T>) - T(call.axis(0).out_centre);
  }

  // Where row r is, about the output's centre. Rows of all slices are counted through.
  STN_INLINE double y_of(int64_t r) const {
    return double(D == 3 ? r % call.p.out_size[1] : r) - centre_y;
  }
  STN_INLINE double z_of(int64_t r) const {
    return D == 3 ? double(r / call.p.out_size[1]) - centre_z : 0.0;
  }

  // Whether a matrix without projection gives finite coordinates everywhere.
  STN_NOINLINE bool finite() const {
    for (int k = 0; k < D; ++k) {
      double most = fabs(matrix[k][D]);
      for (int j = 0; j < D; ++j) most += fabs(matrix[k][j]) * double(call.p.out_size[j]);
      if (!(most < 1e30)) return false;
    }
    return true;
  }

  // Of a matrix: what a coordinate changes by from column to column.
  STN_INLINE T slope_of(int k) const { return T(matrix[k][0]); }

  STN_NOINLINE void row(int64_t r) {
    if (call.p.grid) {
      grid = map + r * call.p.out_size[0] * D;
      return;
    }
    const double y = y_of(r), z = z_of(r);
    for (int k = 0; k < call.matrix_rows(); ++k) {
      const double* m = matrix[k];
      slope[k] = slope_of(k);
      start[k] = T(D == 3 ? m[1] * y + (m[2] * z + m[D]) : m[1] * y + m[D]);
    }
  }

  // From column j on, `remaining` of them; others are anything.
  STN_INLINE void at(int64_t j, int remaining, Vec<T>* u) const {
    if (call.affine()) return affine(j, u);
    Vec<T> found[D];  // what a call is given the address of is not kept in registers
    general(j, remaining, found);
    for (int k = 0; k < D; ++k) u[k] = found[k];
  }

 private:
  STN_INLINE void affine(int64_t j, Vec<T>* u) const {
    const Vec<T> across = lanes + T(j);
    STN_UNROLL
    for (int k = 0; k < D; ++k) u[k] = across * slope[k] + start[k];
  }
  STN_NOINLINE void general(int64_t j, int remaining, Vec<T>* u) const {
    if (call.p.grid) {
      numbers(grid + j * D, remaining, u);
      for (int k = 0; k < D; ++k) {
        const Axis axis = call.axis(k);
        u[k] = u[k] * T(axis.half) + T(axis.centre);
      }
      return;
    }
    affine(j, u);
    const Vec<T> across = lanes + T(j);
    const Vec<T> depth = across * slope[D] + start[D];
    for (int k = 0; k < D; ++k) {
      u[k] = depth > kEpsilon<T> ? u[k] / depth + T(middle[k]) : splat<T>(T(NAN));
    }
  }
  // A grid's numbers from g on; behind the last pixel, zeros.
  static STN_INLINE void numbers(const T* g, int remaining, Vec<T>* x) {
    if (D == 2 && remaining >= kLanes<T>) {
      const Vec<T> low = load<Vec<T>>(g), high = load<Vec<T>>(g + kLanes<T>);
      const Mask<T> even = to_mask<T>(2 * count_up<T>());
      x[0] = __builtin_shuffle(low, high, even), x[1] = __builtin_shuffle(low, high, even + 1);
      return;
    }
    T value[D][kLanes<T>];
    for (int n = 0; n < kLanes<T>; ++n) {
      for (int k = 0; k < D; ++k) value[k][n] = n < remaining ? g[n * D + k] : T(0);
    }
    for (int k = 0; k < D; ++k) x[k] = load<Vec<T>>(value[k]);
  }
};

// Where a vector of boundary pixels reads.
template <class T, int D>
struct Taps {
  Int<T> index;    // of the base in the copy; of no use without a copy
  Vec<T> t[D];     // the fraction of a pixel
  Int<T> base[D];  // the pixel that t counts from, on the extended axis
  Vec<T> sign[D];  // du'/du: 1, or -1 where reflected
  Int<T> invalid;  // mask: the coordinate is not finite, or off the image

  // A gradient to u' is one to u; nothing where not finite, whatever it is.
  STN_INLINE Vec<T> reflected(int k, const Vec<T>& slope) const {
    return to_mask<T>(invalid) ? Vec<T>{} : slope * sign[k];
  }
};

// What the padding makes of coordinates along one axis of the image.
template <class T>
struct AxisPadding {
  int32_t n, period, turn, last;
  int64_t padding;
  // `low` and `high`: the first and the last base that reads pixels or the fill value
  T epsilon, tolerance, low, high;
  T origin, from_origin;     // of the copy; what moves a coordinate there to be truncated
  T inside_from, inside_to;  // interior coordinates
  int64_t pad, step;
  // in copies with a constant around them whatever is far away reads as what is near
  bool clamps;

  AxisPadding() {}
  STN_NOINLINE AxisPadding(const Call<T>& call, int axis)
      : padding(call.p.padding), pad(call.pad), clamps(pad && padding == kConstant) {
    const int taps = taps_of(call.p), before = taps_before(taps);
    const int64_t size = call.p.size[axis];
    step = axis == 0 ? 1 : axis == 1 ? call.stride() : call.slice();
    n = int32_t(size);
    period = padding == kReflection ? 2 * n : padding == kMirror && n > 1 ? 2 * n - 2 : n;
    // from `turn` on a period runs backwards; there the first pixel of the pair is last - base
    turn = padding == kReflection ? n : n - 1;
    last = period - (padding == kReflection ? 2 : 1);
    epsilon = call.p.single ? T(kEpsilon<float>) : kEpsilon<T>;
    tolerance = epsilon * T(n);
    origin = T(pad);
    from_origin = tolerance + origin;
    low = T(before - taps);
    high = T(n + before);
    inside_from = T(before - pad);
    inside_to = T(n - taps + before + 1 + pad) - 2 * tolerance;
    // Nor beyond what `boundary` changes: which of the two is used depends on the vector's width.
    const bool repeats = padding != kConstant && padding != kBorder;
    const T from = repeats ? T(0) : low, to = repeats ? T(padding == kWrap ? n : turn) : high;
    inside_from = inside_from > from ? inside_from : from;
    inside_to = inside_to < to - 2 * tolerance ? inside_to : to - 2 * tolerance;
  }

  STN_INLINE Mask<T> inside(const Vec<T>& u) const { return (u >= inside_from) & (u < inside_to); }
  // Not where its taps are surely off the image. NaN reads the fill value, too.
  STN_INLINE Mask<T> may_read(const Vec<T>& u) const { return (u >= low - 1) & (u <= high + 1); }
  STN_INLINE Vec<T> clamped(Vec<T> u) const {
    u = u > low ? u : splat<T>(low);
    return u < high ? u : splat<T>(high);
  }

  // Of interior coordinates: the base's place in memory and the fraction.
  STN_INLINE Int<T> interior(const Vec<T>& u, Vec<T>& t) const {
    // counted from the copy's edge it is not negative, so that it can be truncated
    const Int<T> place = to_int<T>(u + from_origin);
    t = u - (__builtin_convertvector(place, Vec<T>) - origin);
    t = t <= tolerance ? Vec<T>{} : t;
    return place;
  }

  // Of any finite coordinates: base, fraction, sign.
  STN_NOINLINE Int<T> boundary(Vec<T> u, Vec<T>& t, Vec<T>& sign) const {
    sign = splat<T>(1);
    if (padding == kConstant || padding == kBorder) {
      u = clamped(u);
      Vec<T> base = floor_small<T>(u + tolerance);
      t = u - base;
      t = t <= tolerance ? Vec<T>{} : t;
      return to_int<T>(base < high ? base : splat<T>(high));
    }
    // as `tolerance` of interior ones; what is far off the image was rounded as it is large
    Vec<T> within = epsilon * (u < 0 ? -u : u);
    within = within > tolerance ? within : splat<T>(tolerance);
    within = within < T(0.25) ? within : splat<T>(T(0.25));
    const T far = T(1 << 20), length = T(period);
    if (any((u > far) | (u < -far))) {  // exact however large, and slow
      for (int k = 0; k < kLanes<T>; ++k) u[k] = T(fmod(double(u[k]), double(period)));
    }
    Vec<T> base = floor_small<T>(u + within);
    t = u - base;
    t = t <= within ? Vec<T>{} : t;
    base = base - length * floor_small<T>(base / length);
    base = base < 0 ? base + length : base;
    base = base >= length ? base - length : base;
    Int<T> i = to_int<T>(base);
    if (padding == kWrap) return i;
    if (n == 1) return Int<T>{};  // the one pixel there is
    const Mask<T> back = base >= T(turn);
    t = back ? 1 - t : t;
    sign = back ? splat<T>(-1) : sign;
    return to_int_mask<T>(back) ? last - i : i;
  }
};

template <class T, int D>
struct TapLocator {
  AxisPadding<T> axes[D];
  int32_t safe;  // a base whose taps are in memory, if any pixel is interior: for idle lanes

  explicit TapLocator(const Call<T>& call) {
    const int32_t before = taps_before(taps_of(call.p));
    safe = 0;
    for (int k = 0; k < D; ++k) {
      axes[k] = AxisPadding<T>(call, k);
      safe += before * int32_t(axes[k].step);
    }
  }

  // The base's place in memory and the fractions, if all lanes are interior. In copies with a
  // constant around them all finite coordinates are: what is far away reads that. (So would NaN,
  // but an infinite gradient must not spoil theta's there.)
  STN_INLINE bool interior(const Vec<T>* u, Int<T>& index, Vec<T>* t) const {
    if (axes[0].clamps) {
      Vec<T> nothing = u[0] - u[0];
      STN_UNROLL
      for (int k = 1; k < D; ++k) nothing += u[k] - u[k];
      if (any(nothing != 0)) return false;
      clamped(u, index, t);
      return true;
    }
    Mask<T> inside = axes[0].inside(u[0]);
    STN_UNROLL
    for (int k = 1; k < D; ++k) inside &= axes[k].inside(u[k]);
    if (any(~inside)) return false;
    near(u, index, t);
    return true;
  }
  // Whether all lanes are so far off the image that all taps read the fill value.
  STN_INLINE bool off(const Vec<T>* u) const {
    if (axes[0].padding != kConstant) return false;
    Mask<T> on = axes[0].may_read(u[0]);
    STN_UNROLL
    for (int k = 1; k < D; ++k) on &= axes[k].may_read(u[k]);
    return !any(on);
  }
  STN_INLINE void clamped(const Vec<T>* u, Int<T>& index, Vec<T>* t) const {
    Vec<T> in[D];
    STN_UNROLL
    for (int k = 0; k < D; ++k) in[k] = axes[k].clamped(u[k]);
    near(in, index, t);
  }

  // Any coordinates whatever.
  STN_NOINLINE void boundary(const Vec<T>* u, Taps<T, D>& taps) const {
    Mask<T> finite = (u[0] - u[0]) == 0;
    for (int k = 1; k < D; ++k) finite &= (u[k] - u[k]) == 0;
    taps.invalid = ~to_int_mask<T>(finite);
    taps.index = Int<T>{};
    for (int k = 0; k < D; ++k) {
      const AxisPadding<T>& axis = axes[k];
      const Int<T> base = axis.boundary(finite ? u[k] : Vec<T>{}, taps.t[k], taps.sign[k]);
      taps.base[k] = base;
      taps.index += (base + int32_t(axis.pad)) * int32_t(axis.step);
    }
  }

 private:
  STN_INLINE void near(const Vec<T>* u, Int<T>& index, Vec<T>* t) const {
    index = axes[0].interior(u[0], t[0]);
    STN_UNROLL
    for (int k = 1; k < D; ++k) index += axes[k].interior(u[k], t[k]) * int32_t(axes[k].step);
  }
};

// With a constant around the image: whether there are pixels with taps on it. The others are
// invalid, whatever the vector's do.
template <class T, int D>
STN_NOINLINE bool any_on(const Call<T>& call, Taps<T, D>& taps) {
  const int count = taps_of(call.p);
  for (int k = 0; k < D; ++k) {
    const Int<T> first = taps.base[k] - taps_before(count);
    taps.invalid |= (first <= -count) | (first >= int32_t(call.p.size[k]));
  }
  return any(~taps.invalid);
}

// Flat indices of the taps of some pixels on the plane itself, x fastest; -1: the fill value.
// Whether there is any but that.
template <class T, int D>
STN_NOINLINE bool tap_indices(const Call<T>& call, Taps<T, D>& taps, int32_t (*at)[kLanes<T>]) {
  const int count = taps_of(call.p);
  const int64_t padding = call.p.padding;
  const bool any_read = padding != kConstant || any_on<T, D>(call, taps);
  Int<T> places[D][kMostTaps];  // each axis' part; negative: the fill value
  int32_t step = 1;
  for (int k = 0; k < D; ++k) {
    const int32_t size = int32_t(call.p.size[k]);
    for (int w = 0; w < count; ++w) {
      Int<T> place = taps.base[k] - taps_before(count) + w;
      if (padding != kConstant) {
        for (int lane = 0; lane < kLanes<T>; ++lane) {
          place[lane] = int32_t(pixel_at(place[lane], size, padding));
        }
      }
      const Int<T> off = (place < 0) | (place >= size) | taps.invalid;
      places[k][w] = off ? Int<T>{} - 1 : place * step;
    }
    step *= size;
  }
  for (int z = 0; z < (D == 3 ? count : 1); ++z) {
    for (int y = 0; y < count; ++y) {
      for (int x = 0; x < count; ++x, ++at) {
        Int<T> place = places[0][x] + places[1][y], off = places[0][x] | places[1][y];
        if (D == 3) place += places[D - 1][z], off |= places[D - 1][z];
        store(*at, off < 0 ? Int<T>{} - 1 : place);
      }
    }
  }
  return any_read;
}

}  // namespace
}  // namespace stn::STN_SET
