// The passes over planes: vectors go along the pixels of a row, the channels one after the other.

// What a vector of pixels is read with: the rows' state, and the planes of a block of channels.
template <class T, int D, int W>
struct Planar {
  const Call<T>& call;
  const int64_t b, width, room;
  const Finder<T, D, W> finder;
  Points<T, D> points;
  const T* planes = nullptr;  // the tensor's own, or copies
  int64_t step = 0, count = 0;
  int64_t ahead = 0;  // from a pixel's first tap to that of one to come, about; 0: unknown
  T fills[kMostPlanes];
  T *copy, *rows;  // memory for copies, and for rows where they are not read or written in place

  STN_INLINE Planar(const Call<T>& call, int64_t b)
      : call(call), b(b), width(call.p.out_size[0]), room(width + kGroup), finder(call),
        points(call, b) {
    const size_t copies = call.pad ? copy_size(call, call.block) : 0;
    const size_t row = call.as_stored() ? 0 : size_t(room * call.block);
    copy = static_cast<T*>(scratch((copies + row) * sizeof(T)));
    rows = copy + copies;
  }

  // Channels [low, high), for output rows [first, last).
  STN_INLINE void open(int64_t low, int64_t high, int64_t first, int64_t last) {
    count = high - low;
    if (call.pad) {
      int64_t from, to;
      rows_read<T, D>(call, b, first, last, from, to);
      extend(call, b, low, high, from, to, copy);
      planes = copy, step = call.copied();
    } else {
      step = call.plane();
      planes = static_cast<const T*>(call.image) +
               (call.image_of(b) * call.p.channels + low) * step;
    }
    for (int64_t c = 0; c < count; ++c) fills[c] = call.fill_of(b, low + c);
  }

  // Row r of the output. Planes that are not copied may be far from the cache, and rows across
  // their rows are not foreseen by it.
  STN_INLINE void row(int64_t r) {
    points.row(r);
    if (call.pad || call.p.grid || call.p.projective) return;
    double taps = 0;
    for (int k = 0; k < D; ++k) {
      const double pixels = double(points.slope[k]) * kAhead;
      if (pixels > -1e6 && pixels < 1e6) taps += rint(pixels) * double(finder.rules[k].step);
    }
    ahead = int64_t(taps);
  }
  STN_INLINE void foresee(const T* plane, const Indices<T>& indices) const {
    if (!ahead) return;
    const T* first = plane + indices.at[0] + ahead;
    const T* last = plane + indices.at[kLanes<T> - 1] + ahead;
    __builtin_prefetch(first);
    __builtin_prefetch(last + (W > 1 ? call.stride() : 0));
  }

  // Row r of the channels from `low` on of a tensor like the output; where it is, or a copy of it.
  STN_INLINE const T* row_of(const void* tensor, int64_t low, int64_t r, int64_t& row_step) {
    if (call.as_stored()) {
      row_step = call.out_plane();
      return static_cast<const T*>(tensor) + (b * call.p.channels + low) * row_step + r * width;
    }
    stored_pixels<T, false>(call, tensor, call.out_plane(), b, r * width, width, low, low + count,
                            rows, Steps{1, room});
    row_step = room;
    return rows;
  }
};

template <class T, int D, int W>
STN_INLINE void forward_quickly(const Planar<T, D, W>& p, const Int<T>& index, const Vec<T>* t,
                                T* to, int64_t to_step, int left) {
  const Weights<T, D, W> weights(t, false);
  const Indices<T> indices(index);
  for (int64_t c = 0; c < p.count; ++c) {
    Vec<T> values[kTaps<D, W>];
    p.foresee(p.planes + c * p.step, indices);
    load_taps<T, D, W>(p.call, indices, p.planes + c * p.step, values);
    store_some(to + c * to_step, weighted<Vec<T>, D, W>(values, weights.w), left);
  }
}
template <class T, int D, int W>
void forward_carefully(const Planar<T, D, W>& p, const Vec<T>* u, T* to, int64_t to_step,
                       int left) {
  Taps<T, D> taps;
  p.finder.careful(u, taps);
  const Weights<T, D, W> weights(taps.t, false);
  const Indices<T> indices(taps.index);
  int32_t at[kTaps<D, W>][kLanes<T>];
  if (!p.call.pad && !tap_indices<T, D, W>(p.call, taps, at)) {
    for (int64_t c = 0; c < p.count; ++c) store_some(to + c * to_step, splat<T>(p.fills[c]), left);
    return;
  }
  for (int64_t c = 0; c < p.count; ++c) {
    Vec<T> values[kTaps<D, W>];
    if (p.call.pad) {
      load_taps<T, D, W>(p.call, indices, p.planes + c * p.step, values);
    } else {
      load_taps<T, D, W>(at, p.planes + c * p.step, p.fills[c], values);
    }
    const Vec<T> value = weighted<Vec<T>, D, W>(values, weights.w);
    store_some(to + c * to_step, to_mask<T>(taps.dead) ? splat<T>(p.fills[c]) : value, left);
  }
}

template <class T, int D, int W>
void planar_forward(const Call<T>& call, int64_t b, int64_t first, int64_t last, int64_t low,
                    int64_t high) {
  Planar<T, D, W> p(call, b);
  const int64_t width = p.width;
  for (int64_t block = low; block < high; block += call.block) {
    const int64_t end = block + call.block < high ? block + call.block : high;
    p.open(block, end, first, last);
    T* to = p.rows;
    int64_t to_step = p.room;
    for (int64_t r = first; r < last; ++r) {
      p.row(r);
      if (call.as_stored()) {
        to_step = call.out_plane();
        to = static_cast<T*>(call.out) + (b * call.p.channels + block) * to_step + r * width;
      }
      for (int64_t j = 0; j < width; j += kLanes<T>) {
        const int left = int(width - j < kLanes<T> ? width - j : kLanes<T>);
        // whole vectors run over the row's end: the next row is written over that
        const int room = (last - r) * width - j >= kLanes<T> ? kLanes<T> : left;
        Vec<T> u[D], t[D];
        Int<T> index;
        p.points.at(j, left, u);
        if (p.finder.quick(u, index, t)) {
          forward_quickly<T, D, W>(p, index, t, to + j, to_step, room);
        } else {
          forward_carefully<T, D, W>(p, u, to + j, to_step, room);
        }
      }
      if (!call.as_stored()) {
        stored_pixels<T, true>(call, call.out, call.out_plane(), b, r * width, width, block, end,
                               to, Steps{1, to_step});
      }
    }
  }
}

template <class T, int D, int W>
STN_INLINE void add_slopes(const Vec<T>* values, const Weights<T, D, W>& weights, const Vec<T>& g,
                           bool add, Vec<T>* slopes) {
  STN_UNROLL
  for (int k = 0; k < D; ++k) {
    const Vec<T> slope = g * sloped<Vec<T>, D, W>(k, values, weights.w, weights.slope);
    slopes[k] = add ? slopes[k] + slope : slope;
  }
}
template <class T, int D, int W>
STN_INLINE void slopes_quickly(const Planar<T, D, W>& p, const Int<T>& index, const Vec<T>* t,
                               const T* grad, int64_t grad_step, int left, Vec<T>* slopes) {
  const Weights<T, D, W> weights(t, true);
  const Indices<T> indices(index);
  for (int64_t c = 0; c < p.count; ++c) {
    Vec<T> values[kTaps<D, W>];
    p.foresee(p.planes + c * p.step, indices);
    load_taps<T, D, W>(p.call, indices, p.planes + c * p.step, values);
    add_slopes<T, D, W>(values, weights, load_some(grad + c * grad_step, left), c > 0, slopes);
  }
}
template <class T, int D, int W>
void slopes_carefully(const Planar<T, D, W>& p, const Vec<T>* u, const T* grad, int64_t grad_step,
                      int left, Vec<T>* slopes) {
  Taps<T, D> taps;
  p.finder.careful(u, taps);
  const Weights<T, D, W> weights(taps.t, true);
  const Indices<T> indices(taps.index);
  int32_t at[kTaps<D, W>][kLanes<T>];
  if (!p.call.pad && !tap_indices<T, D, W>(p.call, taps, at)) {
    for (int k = 0; k < D; ++k) slopes[k] = Vec<T>{};
    return;
  }
  for (int64_t c = 0; c < p.count; ++c) {
    Vec<T> values[kTaps<D, W>];
    if (p.call.pad) {
      load_taps<T, D, W>(p.call, indices, p.planes + c * p.step, values);
    } else {
      load_taps<T, D, W>(at, p.planes + c * p.step, p.fills[c], values);
    }
    add_slopes<T, D, W>(values, weights, load_some(grad + c * grad_step, left), c > 0, slopes);
  }
  for (int k = 0; k < D; ++k) slopes[k] = taps.turned(k, slopes[k]);
}

template <class T, int D, int W>
void planar_map_gradient(const Call<T>& call, int64_t b, int64_t first, int64_t last,
                         double* part) {
  Planar<T, D, W> p(call, b);
  const int64_t width = p.width;
  for (int64_t block = 0; block < call.p.channels; block += call.block) {
    const int64_t left_over = call.p.channels - block;
    p.open(block, block + (left_over < call.block ? left_over : call.block), first, last);
    MapGradient<T, D> gradient(call, p.points, block > 0);
    for (int64_t r = first; r < last; ++r) {
      p.row(r);
      gradient.open_row(b, r);
      int64_t grad_step;
      const T* grad = p.row_of(call.grad, block, r, grad_step);
      for (int64_t j = 0; j < width; j += kLanes<T>) {
        const int left = int(width - j < kLanes<T> ? width - j : kLanes<T>);
        // whole vectors read over the row's end, for nothing
        const int room = (last - r) * width - j >= kLanes<T> ? kLanes<T> : left;
        Vec<T> u[D], t[D], slopes[D];
        Int<T> index;
        p.points.at(j, left, u);
        if (p.finder.quick(u, index, t)) {
          slopes_quickly<T, D, W>(p, index, t, grad + j, grad_step, room, slopes);
        } else {
          slopes_carefully<T, D, W>(p, u, grad + j, grad_step, room, slopes);
        }
        gradient.pixels(j, left, u, slopes);
      }
      gradient.close_row(r);
    }
    gradient.close(part);
  }
}

// Adding to a pixel has to wait for the addition before, if that was to the same pixel, as it often
// is for neighbours: so these are taken apart, in a fixed order.
constexpr int kOrder[kGroup] = {0, 2, 4, 6, 1, 3, 5, 7};

// The group of pixels from column j on, some of which need care.
template <class T, int D, int W>
void scatter_carefully(const Planar<T, D, W>& p, int64_t j, int left, const T* grad,
                       int64_t grad_step, T* planes, int64_t step) {
  constexpr int count = kTaps<D, W>, wide = kLanes<T>;
  T weights[count][kGroup];
  int32_t places[count][kGroup];  // -1: nowhere
  for (int v = 0; v < kGroup; v += wide) {
    Vec<T> u[D];
    Taps<T, D> taps;
    int32_t at[count][wide];
    p.points.at(j + v, left - v, u);
    p.finder.careful(u, taps);
    const Weights<T, D, W> w(taps.t, false);
    if (!p.call.pad) tap_indices<T, D, W>(p.call, taps, at);
    for (int n = 0; n < count; ++n) {
      store(weights[n] + v, w.product(n));
      const int32_t offset = int32_t(tap_offset<T, D, W>(p.call, n));
      if (p.call.pad) store(at[n], taps.dead ? Int<T>{} - 1 : taps.index + offset);
      memcpy(places[n] + v, at[n], sizeof at[n]);
    }
  }
  for (int64_t c = 0; c < p.count; ++c) {
    for (int k : kOrder) {
      for (int n = 0; n < count && k < left; ++n) {
        if (places[n][k] < 0) continue;
        planes[c * step + places[n][k]] += grad[c * grad_step + k] * weights[n][k];
      }
    }
  }
}

template <class T, int D, int W>
STN_INLINE void scatter_quickly(const Planar<T, D, W>& p, const int32_t* index, const T (*t)[kGroup],
                                const T* grad, int64_t grad_step, T* planes, int64_t step) {
  constexpr int count = kTaps<D, W>, wide = kLanes<T>;
  int64_t offsets[count];
  for (int n = 0; n < count; ++n) offsets[n] = tap_offset<T, D, W>(p.call, n);
  for (int64_t c = 0; c < p.count; ++c) {
    T amount[count][kGroup];
    for (int v = 0; v < kGroup; v += wide) {
      Vec<T> fraction[D];
      for (int k = 0; k < D; ++k) fraction[k] = load<Vec<T>>(t[k] + v);
      const Weights<T, D, W> weights(fraction, false);
      const Vec<T> g = load<Vec<T>>(grad + c * grad_step + v);
      STN_UNROLL
      for (int n = 0; n < count; ++n) store(amount[n] + v, g * weights.product(n));
    }
    T* plane = planes + c * step;
    if (p.ahead) {
      __builtin_prefetch(plane + index[0] + p.ahead, 1);
      __builtin_prefetch(plane + index[kGroup - 1] + p.ahead + offsets[count - 1], 1);
    }
    STN_UNROLL
    for (int i = 0; i < kGroup; ++i) {
      T* to = plane + index[kOrder[i]];
      STN_UNROLL
      for (int n = 0; n < count; ++n) to[offsets[n]] += amount[n][kOrder[i]];
    }
  }
}

// Equation (6) of rows [first, last) of an output, added to the planes of the channels from `low`
// on.
template <class T, int D, int W>
STN_INLINE void planar_scatter(Planar<T, D, W>& p, int64_t first, int64_t last, int64_t low,
                               T* planes, int64_t step) {
  constexpr int wide = kLanes<T>;
  for (int64_t r = first; r < last; ++r) {
    p.row(r);
    int64_t grad_step;
    const T* grad = p.row_of(p.call.grad, low, r, grad_step);
    for (int64_t j = 0; j < p.width; j += kGroup) {
      const int left = int(p.width - j < kGroup ? p.width - j : kGroup);
      int32_t index[kGroup];
      T fractions[D][kGroup];
      bool quick = left == kGroup;
      STN_UNROLL
      for (int v = 0; v < kGroup; v += wide) {
        Vec<T> u[D], t[D];
        Int<T> first_tap;
        if (!quick) break;
        p.points.at(j + v, left - v, u);
        quick = p.finder.quick(u, first_tap, t);
        store(index + v, first_tap);
        for (int k = 0; k < D; ++k) store(fractions[k] + v, t[k]);
      }
      if (quick) {
        scatter_quickly<T, D, W>(p, index, fractions, grad + j, grad_step, planes, step);
      } else {
        scatter_carefully<T, D, W>(p, j, left, grad + j, grad_step, planes, step);
      }
    }
  }
}
