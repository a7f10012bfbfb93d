// The gradient to the image along pixels, equation (6).

// Adding to a pixel has to wait for the addition before, if that was to the same pixel, as it often
// is for neighbours: so these are taken apart, in a fixed order.
constexpr int kOrder[kGroup] = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};

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
      const int32_t offset = int32_t(tap_offset<D, W>(p.strides, n));
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

// Pixels [from, to) of the run.
template <class T, int D, int W>
STN_INLINE void scatter_quickly(const Planar<T, D, W>& p, int from, int to, const T* grad,
                                T* plane) {
  constexpr int taps = kTaps<D, W>, wide = kLanes<T>;
  int64_t offsets[taps];
  for (int n = 0; n < taps; ++n) offsets[n] = tap_offset<D, W>(p.strides, n);
  for (int first = from; first < to; first += kGroup) {
    T amount[taps][kGroup];
    STN_UNROLL
    for (int v = 0; v < kGroup; v += wide) {
      Vec<T> t[D];
      for (int k = 0; k < D; ++k) t[k] = load<Vec<T>>(p.run.t[k] + first + v);
      const Weights<T, D, W> weights(t, false);
      const Vec<T> g = load_some(grad + first + v, to - first - v);
      STN_UNROLL
      for (int n = 0; n < taps; ++n) store(amount[n] + v, g * weights.product(n));
    }
    const int32_t* index = p.run.index + first;
    p.template foresee<true>(plane, first, kGroup);
    __builtin_prefetch(grad + first + kSoon<T>, 0, 2);
    const auto add = [&](int k) STN_LAMBDA {
      T* at = plane + index[k];
      STN_UNROLL
      for (int n = 0; n < taps; ++n) at[offsets[n]] += amount[n][k];
    };
    if (first + kGroup <= to) {
      STN_UNROLL
      for (int k = 0; k < kGroup; ++k) add(kOrder[k]);
    } else {
      for (int k = 0; first + k < to; ++k) add(k);
    }
  }
}

// Equation (6) of rows [first, last) of an output, added to the planes of the channels from `low`
// on.
template <class T, int D, int W>
STN_INLINE void planar_scatter(Planar<T, D, W>& p, int64_t first, int64_t last, int64_t low,
                               T* planes, int64_t step) {
  p.planes = planes;
  if (p.call.foreseen) p.fetch.begin(p.points, first);
  p.for_runs(first, last, [&]() STN_LAMBDA {
    int64_t grad_step;
    const T* grad = p.run_of(p.call.grad, low, grad_step);
    p.run.for_quick([&](int from, int end) STN_LAMBDA {
      for (int64_t c = 0; c < p.count; ++c) {
        scatter_quickly<T, D, W>(p, from, end, grad + c * grad_step, planes + c * step);
      }
    });
    for (int k = 0; k < p.run.careful; ++k) {
      const auto& group = p.run.groups[k];
      if (group.off) continue;
      p.points.row(group.r);
      scatter_carefully<T, D, W>(p, group.j, group.left, grad + group.at, grad_step, planes, step);
    }
  });
}
