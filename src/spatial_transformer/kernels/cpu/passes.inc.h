// The three passes over one task's pixels, compiled once for every instruction set: the file that
// includes this is in a namespace of its own and under the compiler's target for it.

#include "lanes.inc.h"
#include "taps.inc.h"

// Calls work(row, rows, column, columns) for chunks of at most kChunk pixels of rows [first, last).
template <class F>
STN_INLINE void for_chunks(int64_t first, int64_t last, int64_t width, const F& work) {
  if (width <= kChunk) {
    const int64_t step = kChunk / width;
    for (int64_t i = first; i < last; i += step) {
      work(i, last - i < step ? last - i : step, int64_t(0), width);
    }
    return;
  }
  for (int64_t i = first; i < last; ++i) {
    for (int64_t j = 0; j < width; j += kChunk) {
      work(i, int64_t(1), j, width - j < kChunk ? width - j : int64_t(kChunk));
    }
  }
}

// memcpy for rows: they are short, and a call takes longer than the copy.
template <class T>
STN_INLINE void copy_row(T* to, const T* from, int64_t n) {
  constexpr int wide = kLanes<T>;
  if (n < wide) {
    for (int64_t j = 0; j < n; ++j) to[j] = from[j];
    return;
  }
  for (int64_t j = 0; j < n - wide; j += wide) store(to + j, load<Vec<T>>(from + j));
  store(to + n - wide, load<Vec<T>>(from + n - wide));
}

// ---- Planes -------------------------------------------------------------------------------------

// A plane extended by kPad on each side, as the padding says, and the cell that is not finite.
template <class T>
STN_INLINE void pad_plane(const Call<T>& call, const T* plane, T fill, T* padded) {
  const bool constant = call.p.padding == kConstant, wrap = call.p.padding == kWrap;
  const int64_t h = call.p.height, w = call.p.width, stride = call.stride();
  for (int64_t i = 0; i < h; ++i) {
    const T* from = plane + i * w;
    T* to = padded + (i + kPad) * stride;
    copy_row(to + kPad, from, w);
    const T left = constant ? fill : from[0];
    const T right = constant ? fill : wrap ? from[0] : from[w - 1];
    to[0] = to[1] = left;
    to[w + kPad] = to[w + kPad + 1] = right;
  }
  for (int64_t k = 0; k < kPad; ++k) {
    T *above = padded + k * stride, *below = padded + (h + kPad + k) * stride;
    if (constant) {
      for (int64_t j = 0; j < stride; ++j) above[j] = below[j] = fill;
    } else {
      const T *top = padded + kPad * stride, *bottom = padded + (h + kPad - 1) * stride;
      copy_row(above, top, stride);
      copy_row(below, wrap ? top : bottom, stride);
    }
  }
  T* cell = padded + call.cell();
  cell[0] = cell[1] = cell[stride] = cell[stride + 1] = fill;
}

// The transpose: what was added to a padded plane, added up on the plane.
template <class T>
STN_INLINE void unpad_plane(const Call<T>& call, T* padded, T* plane) {
  const bool wrap = call.p.padding == kWrap;
  const int64_t h = call.p.height, w = call.p.width, stride = call.stride();
  if (call.p.padding != kConstant) {
    for (int64_t i = 0; i < h + 2 * kPad; ++i) {
      T *row = padded + i * stride, *on = row + kPad;
      on[0] += row[0] + row[1];
      on[wrap ? 0 : w - 1] += row[w + kPad] + row[w + kPad + 1];
    }
    T *top = padded + kPad * stride, *bottom = padded + (h + kPad - 1) * stride;
    for (int64_t k = 0; k < kPad; ++k) {
      const T *above = padded + k * stride, *below = padded + (h + kPad + k) * stride;
      T* under = wrap ? top : bottom;
      for (int64_t j = kPad; j < w + kPad; ++j) top[j] += above[j];
      for (int64_t j = kPad; j < w + kPad; ++j) under[j] += below[j];
    }
  }
  for (int64_t i = 0; i < h; ++i) {
    copy_row(plane + i * w, padded + (i + kPad) * stride + kPad, w);
  }
}

// ---- Pixels off the image, where planes are not padded ------------------------------------------

// Columns (or rows) i of an axis of n: where they are on the image, and which of them are off it.
template <class T>
STN_INLINE Int<T> on_image(int64_t padding, Int<T> i, int32_t n, Int<T>& off) {
  off = padding == kConstant ? (i < 0) | (i >= n) : Int<T>{};
  if (padding == kWrap) i = i >= n ? i - n : i;
  i = i < 0 ? Int<T>{} : i;
  return i >= n ? n - 1 - Int<T>{} : i;
}

// Flat indices of the taps of some pixels, in bounds, and which of them read the fill value.
template <class T>
STN_INLINE void tap_indices(const Call<T>& call, const Taps<T>& taps, int j,
                            int32_t (*at)[kLanes<T>], Int<T>* off) {
  const int64_t padding = call.p.padding;
  const int32_t width = int32_t(call.p.width), height = int32_t(call.p.height);
  const Int<T> ix = load<Int<T>>(taps.ix + j), iy = load<Int<T>>(taps.iy + j);
  const Int<T> dead = ix == kDead;
  Int<T> off_x[2], off_y[2], x[2], y[2];
  for (int d = 0; d < 2; ++d) {
    x[d] = on_image<T>(padding, ix + d, width, off_x[d]);
    y[d] = on_image<T>(padding, iy + d, height, off_y[d]) * width;
  }
  for (int n = 0; n < 4; ++n) {
    store(at[n], y[n / 2] + x[n % 2]);
    off[n] = off_y[n / 2] | off_x[n % 2] | dead;
  }
}

template <class T>
STN_INLINE Vec<T> read_one(const T* plane, const int32_t* at, const Int<T>& off,
                           const Vec<T>& outside) {
  T value[kLanes<T>];
  for (int k = 0; k < kLanes<T>; ++k) value[k] = plane[at[k]];
  return __builtin_convertvector(off, Mask<T>) ? outside : load<Vec<T>>(value);
}

// The four values of some pixels: top left, top right, bottom left, bottom right.
template <class T, bool Padded>
STN_INLINE void load_quads(const Call<T>& call, const Taps<T>& taps, int j, const T* plane, T fill,
                           Vec<T>& a, Vec<T>& b, Vec<T>& c, Vec<T>& d) {
  if (!Padded && any(load<Int<T>>(taps.index + j) < 0)) {
    if (!any(load<Int<T>>(taps.index + j) != kAllOutside)) {
      a = b = c = d = splat(fill);
      return;
    }
    int32_t at[4][kLanes<T>];
    Int<T> off[4];
    tap_indices(call, taps, j, at, off);
    const Vec<T> outside = splat(fill);
    a = read_one(plane, at[0], off[0], outside), b = read_one(plane, at[1], off[1], outside);
    c = read_one(plane, at[2], off[2], outside), d = read_one(plane, at[3], off[3], outside);
    return;
  }
  load_pairs(plane, taps.index + j, a, b);
  load_pairs(plane + call.stride(), taps.index + j, c, d);
}

// ---- Forward: equation (3) ----------------------------------------------------------------------

template <class T, int64_t K, bool Padded>
STN_INLINE void read_chunk(const Call<T>& call, const Taps<T>& taps, int count, const T* plane,
                           T fill, T* out) {
  if (K == kNearest) {
    for (int j = 0; j < count; j += kLanes<T>) {
      Int<T> off = {};
      int32_t at[4][kLanes<T>];
      if (Padded || !any(load<Int<T>>(taps.index + j) < 0)) {
        store(at[0], load<Int<T>>(taps.index + j));
      } else {
        Int<T> all[4];
        tap_indices(call, taps, j, at, all);
        off = all[0];
      }
      store_some(out + j, read_one(plane, at[0], off, splat(fill)), count - j);
    }
    return;
  }
  for (int j = 0; j < count; j += kLanes<T>) {
    Vec<T> a, b, c, d;
    load_quads<T, Padded>(call, taps, j, plane, fill, a, b, c, d);
    const Vec<T> tx = load<Vec<T>>(taps.tx + j), ty = load<Vec<T>>(taps.ty + j);
    const Vec<T> top = a * (1 - tx) + b * tx, bottom = c * (1 - tx) + d * tx;
    store_some(out + j, top * (1 - ty) + bottom * ty, count - j);
  }
}

template <class T, int64_t K, bool Padded>
STN_INLINE void forward(const Call<T>& call, int64_t b, int64_t first, int64_t last, int64_t low,
                        int64_t high) {
  const Plan& p = call.p;
  const T* image = call.image + call.image_of(b) * p.channels * call.plane();
  T* out = call.out + b * p.channels * call.out_plane();
  Taps<T> taps;
  T* padded = Padded ? static_cast<T*>(scratch(call.block * call.padded_plane() * sizeof(T))) : 0;
  for (int64_t block = low; block < high; block += call.block) {
    const int64_t end = block + call.block < high ? block + call.block : high;
    for (int64_t c = block; Padded && c < end; ++c) {
      pad_plane(call, image + c * call.plane(), call.fill_of(b, c),
                      padded + (c - block) * call.padded_plane());
    }
    for_chunks(first, last, p.out_width, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
      chunk_taps(call, b, i, rows, j, columns, taps);
      for (int64_t c = block; c < end; ++c) {
        read_chunk<T, K, Padded>(
            call, taps, int(rows * columns),
            Padded ? padded + (c - block) * call.padded_plane() : image + c * call.plane(),
            call.fill_of(b, c), out + c * call.out_plane() + i * p.out_width + j);
      }
    });
  }
}

// ---- Gradient to the maps: equation (7) ---------------------------------------------------------

// dL/du' and dL/dv' of a chunk, added up over the channels.
template <class T, bool Padded>
STN_INLINE void slopes_chunk(const Call<T>& call, const Taps<T>& taps, int count, const T* plane,
                             T fill, const T* grad, bool add, T* gu, T* gv) {
  for (int j = 0; j < count; j += kLanes<T>) {
    Vec<T> a, b, c, d;
    load_quads<T, Padded>(call, taps, j, plane, fill, a, b, c, d);
    const Vec<T> tx = load<Vec<T>>(taps.tx + j), ty = load<Vec<T>>(taps.ty + j);
    const Vec<T> g = load_some(grad + j, count - j);
    Vec<T> across = g * ((b - a) * (1 - ty) + (d - c) * ty);
    Vec<T> down = g * ((c - a) * (1 - tx) + (d - b) * tx);
    if (add) {
      across += load<Vec<T>>(gu + j);
      down += load<Vec<T>>(gv + j);
    }
    store(gu + j, across);
    store(gv + j, down);
  }
}

// dL/du and dL/dv of a tile -> its six sums: of each times x, times y and times 1.
template <class T>
STN_INLINE void reduce_tile(const Call<T>& call, int64_t first, int64_t last, const T* gu,
                            const T* gv, double* part) {
  // Eight sums side by side, however wide the vectors are: the order of additions is fixed.
  constexpr int side = 8, wide = kLanes<double>, n = side / wide;
  const Plan& p = call.p;
  const Axis x(p.width, p.out_width, p.align_corners), y(p.height, p.out_height, p.align_corners);
  double total[6] = {}, lane[side];
  for (int k = 0; k < side; ++k) lane[k] = k - x.out_centre;
  for (int axis = 0; axis < 2; ++axis) {
    Vec<double> along_x[n] = {}, along_y[n] = {}, plain[n] = {};
    for (int64_t i = first; i < last; ++i) {
      const T* g = (axis ? gv : gu) + (i - first) * p.out_width;
      const double down = double(i) - y.out_centre;
      Vec<double> row[n] = {};
      for (int64_t j = 0; j < p.out_width; j += side) {
        T end[side] = {};
        const T* from = g + j;
        if (p.out_width - j < side) {
          memcpy(end, from, size_t(p.out_width - j) * sizeof(T));
          from = end;
        }
        for (int k = 0; k < n; ++k) {
          const Vec<double> value = load_as_double(from + k * wide);
          row[k] += value;
          along_x[k] += value * (load<Vec<double>>(lane + k * wide) + double(j));
        }
      }
      for (int k = 0; k < n; ++k) {
        plain[k] += row[k];
        along_y[k] += row[k] * down;
      }
    }
    for (int k = 0; k < side; ++k) {
      total[3 * axis] += along_x[k / wide][k % wide];
      total[3 * axis + 1] += along_y[k / wide][k % wide];
      total[3 * axis + 2] += plain[k / wide][k % wide];
    }
  }
  const double scale[6] = {x.ratio, x.half * y.per_step, x.half,
                           y.half * x.per_step, y.ratio, y.half};
  for (int k = 0; k < 6; ++k) part[k] = total[k] * scale[k];
}

template <class T, bool Padded>
STN_INLINE void map_gradient(const Call<T>& call, int64_t b, int64_t tile) {
  const Plan& p = call.p;
  const int64_t first = tile * call.tile_rows;
  const int64_t end_row = first + call.tile_rows;
  const int64_t last = end_row < p.out_height ? end_row : p.out_height;
  const int64_t pixels = (last - first) * p.out_width;
  const T* image = call.image + call.image_of(b) * p.channels * call.plane();
  const T* grad = call.grad + b * p.channels * call.out_plane();
  const int64_t copies = Padded ? call.block * call.padded_plane() : 0;
  T* padded = static_cast<T*>(scratch((copies + 2 * pixels) * sizeof(T)));
  T *tile_u = padded + copies, *tile_v = tile_u + pixels;
  T gu[Taps<T>::room], gv[Taps<T>::room];
  Taps<T> taps;
  for (int64_t block = 0; block < p.channels; block += call.block) {
    const int64_t end = block + call.block < p.channels ? block + call.block : p.channels;
    for (int64_t c = block; Padded && c < end; ++c) {
      pad_plane(call, image + c * call.plane(), call.fill_of(b, c),
                      padded + (c - block) * call.padded_plane());
    }
    for_chunks(first, last, p.out_width, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
      chunk_taps(call, b, i, rows, j, columns, taps);
      const int count = int(rows * columns);
      for (int64_t c = block; c < end; ++c) {
        slopes_chunk<T, Padded>(
            call, taps, count,
            Padded ? padded + (c - block) * call.padded_plane() : image + c * call.plane(),
            call.fill_of(b, c), grad + c * call.out_plane() + i * p.out_width + j, c > block, gu,
            gv);
      }
      const int64_t at = (i - first) * p.out_width + j;
      for (int k = 0; k < count; ++k) {
        // not a product: what is multiplied by zero may not be finite
        const T u = taps.sx[k] == 0 ? T(0) : taps.sx[k] * gu[k];
        const T v = taps.sy[k] == 0 ? T(0) : taps.sy[k] * gv[k];
        tile_u[at + k] = block ? tile_u[at + k] + u : u;
        tile_v[at + k] = block ? tile_v[at + k] + v : v;
      }
    });
  }
  if (!p.grid) {
    reduce_tile(call, first, last, tile_u, tile_v, call.parts + (b * call.tiles + tile) * 6);
    return;
  }
  const Axis x(p.width, p.out_width, p.align_corners), y(p.height, p.out_height, p.align_corners);
  T* to = call.grad_map + (b * call.out_plane() + first * p.out_width) * 2;
  for (int64_t k = 0; k < pixels; ++k) {
    to[2 * k] = tile_u[k] * T(x.half);
    to[2 * k + 1] = tile_v[k] * T(y.half);
  }
}

// ---- Gradient to the image: equation (6) --------------------------------------------------------

// Adding to a pixel has to wait for the addition before, if that was to the same pixel, as it often
// is: so several stretches of the chunk are walked at a time, in a fixed order all the same.
constexpr int kStretches = 6;

template <class T, int64_t K, bool Padded>
STN_INLINE void add_chunk(const Call<T>& call, const Taps<T>& taps, int count, const T* grad,
                          T* plane) {
  const int64_t stride = call.stride();
  T w[4][Taps<T>::room];
  if (K == kBilinear) {
    for (int j = 0; j < count; j += kLanes<T>) {
      const Vec<T> tx = load<Vec<T>>(taps.tx + j), ty = load<Vec<T>>(taps.ty + j);
      const Vec<T> g = load_some(grad + j, count - j);
      const Vec<T> top = g * (1 - ty), bottom = g * ty;
      store(w[0] + j, top * (1 - tx));
      store(w[1] + j, top * tx);
      store(w[2] + j, bottom * (1 - tx));
      store(w[3] + j, bottom * tx);
    }
  }
  const auto add = [&](int j) __attribute__((always_inline)) {
    const int32_t i = taps.index[j];
    if (!Padded && i < 0) return;
    T* to = plane + i;
    if (K == kNearest) {
      to[0] += grad[j];
      return;
    }
    to[0] += w[0][j];
    to[1] += w[1][j];
    to[stride] += w[2][j];
    to[stride + 1] += w[3][j];
  };
  const int length = count / kStretches;
  for (int j = 0; j < length; ++j) {
    for (int n = 0; n < kStretches; ++n) add(n * length + j);
  }
  for (int j = kStretches * length; j < count; ++j) add(j);
  if (Padded) return;
  for (int j = 0; j < count; j += kLanes<T>) {
    if (!any(load<Int<T>>(taps.index + j) == kMixed)) continue;
    int32_t at[4][kLanes<T>];
    Int<T> off[4];
    tap_indices(call, taps, j, at, off);
    for (int k = 0; k < kLanes<T> && j + k < count; ++k) {
      if (taps.index[j + k] != kMixed) continue;
      for (int n = 0; n < (K == kNearest ? 1 : 4); ++n) {
        if (!off[n][k]) plane[at[n][k]] += K == kNearest ? grad[j + k] : w[n][j + k];
      }
    }
  }
}

// Of channels [low, high) of one image, over all the outputs that read it.
template <class T, int64_t K, bool Padded>
STN_INLINE void image_gradient(const Call<T>& call, int64_t image, int64_t low, int64_t high) {
  const Plan& p = call.p;
  const int64_t sharing = p.batch / p.images, copy = call.padded_plane();
  T* planes = call.grad_image + image * p.channels * call.plane();
  const size_t bytes = size_t((high - low) * (Padded ? copy : call.plane())) * sizeof(T);
  T* padded = Padded ? static_cast<T*>(scratch(bytes)) : 0;
  memset(Padded ? padded : planes + low * call.plane(), 0, bytes);
  Taps<T> taps;
  for (int64_t b = image * sharing; b < (image + 1) * sharing; ++b) {
    const T* grad = call.grad + b * p.channels * call.out_plane();
    const auto add = [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
      chunk_taps(call, b, i, rows, j, columns, taps);
      for (int64_t c = low; c < high; ++c) {
        add_chunk<T, K, Padded>(call, taps, int(rows * columns),
                                grad + c * call.out_plane() + i * p.out_width + j,
                                Padded ? padded + (c - low) * copy : planes + c * call.plane());
      }
    };
    for_chunks(0, p.out_height, p.out_width, add);
  }
  for (int64_t c = low; Padded && c < high; ++c) {
    unpad_plane(call, padded + (c - low) * copy, planes + c * call.plane());
  }
}

// ---- From the call's options to the templates' --------------------------------------------------

template <class T, int64_t K, bool Padded>
Passes<T> instances() {
  return {
      [](const Call<T>& call, const int64_t* n) {
        forward<T, K, Padded>(call, n[0], n[1], n[2], n[3], n[4]);
      },
      [](const Call<T>& call, const int64_t* n) { map_gradient<T, Padded>(call, n[0], n[1]); },
      [](const Call<T>& call, const int64_t* n) {
        image_gradient<T, K, Padded>(call, n[0], n[1], n[2]);
      },
  };
}
template <class T>
Passes<T> passes(const Call<T>& call) {
  if (call.p.kernel == kNearest) {
    return call.padded ? instances<T, kNearest, true>() : instances<T, kNearest, false>();
  }
  return call.padded ? instances<T, kBilinear, true>() : instances<T, kBilinear, false>();
}
