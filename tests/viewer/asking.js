// What the page shows, asked of the libraries it draws with. Image coordinates are (column, row), (0, 0) the outer corner
// of the first pixel, as in PS3.3 C.10.5.1.2; cornerstone counts from the same corner.
const asking = (() => {
  const viewport = () => {
    const shown = window.cornerstone?.getRenderingEngines?.()[0]?.getViewports()[0];
    if (!shown) throw new Error('nothing is shown');
    return shown;
  };
  const plane = () => {
    const id = viewport().getCurrentImageId();
    return { id, image: window.cornerstone.cache.getImage(id) };
  };
  const toCanvas = (id, point) => viewport().worldToCanvas(window.cornerstone.utilities.imageToWorldCoords(id, point));
  const toImage = (id, world) => window.cornerstone.utilities.worldToImageCoords(id, world);
  const base64 = values => btoa(Array.from(values, value => String.fromCharCode(value)).join(''));

  /** Image coordinates of a point of the canvas; the picture is never turned or sheared against it. */
  const fromCanvas = id => {
    const [left, top] = toCanvas(id, [0, 0]);
    const [right, bottom] = toCanvas(id, [100, 100]);
    return ([x, y]) => [((x - left) / (right - left)) * 100, ((y - top) / (bottom - top)) * 100];
  };

  const labelmap = (map, segmentation) => ({
    segments: map.labelToSegmentIndex,
    images: map.imageIds.map((id, position) => {
      const image = window.cornerstone.cache.getImage(id);
      return {
        rows: image.rows,
        columns: image.columns,
        of: map.referencedImageIds[position],
        values: base64(image.voxelManager.getScalarData()),
      };
    }),
  });

  return {
    /** The series by their UID: what the thumbnails call them. */
    series: () =>
      Object.fromEntries(
        window.services.displaySetService
          .getActiveDisplaySets()
          .map(set => [set.SeriesInstanceUID, set.displaySetInstanceUID])
      ),

    /** Where on the window the thumbnail is, made visible. */
    thumbnail: name => {
      const found = document.getElementById(`thumbnail-${name}`);
      found.scrollIntoView({ block: 'center' });
      const { x, y, width, height } = found.getBoundingClientRect();
      return [x + width / 2, y + height / 2];
    },

    image: () => {
      const { id, image } = plane();
      return { id, rows: image.rows, columns: image.columns };
    },

    /** What the canvas shows at these image coordinates: [red, green, blue] each, null outside the canvas. */
    colours: points => {
      const { id } = plane();
      const canvas = viewport().getCanvas();
      const copy = document.createElement('canvas');
      copy.width = canvas.width;
      copy.height = canvas.height;
      const drawing = copy.getContext('2d', { willReadFrequently: true });
      drawing.drawImage(canvas, 0, 0);
      const scale = canvas.width / canvas.clientWidth;
      return points.map(point => {
        const [x, y] = toCanvas(id, point).map(value => Math.round(value * scale));
        if (x < 0 || y < 0 || x >= canvas.width || y >= canvas.height) return null;
        return Array.from(drawing.getImageData(x, y, 1, 1).data.slice(0, 3));
      });
    },

    segmentations: () => {
      const { state, config } = window.cornerstoneTools.segmentation;
      const { id } = viewport();
      return state.getSegmentations().map(found => ({
        label: found.label,
        segments: Object.values(found.segments).map(segment => ({
          number: segment.segmentIndex,
          label: segment.label,
          colour: config.color.getSegmentIndexColor(id, found.segmentationId, segment.segmentIndex),
        })),
        labelmaps: Object.values(found.representationData.Labelmap.labelmaps).map(labelmap),
      }));
    },

    /** What is held of each region of a report, and the text that stands beside it on the screen. */
    regions: () => {
      const { id } = plane();
      return window.cornerstoneTools.annotation.state
        .getAllAnnotations()
        .filter(found => found.metadata.toolName === 'DICOMSRDisplay')
        .map(found => ({
          tracked: found.data.TrackingUniqueIdentifier,
          image: found.metadata.referencedImageId,
          shapes: Object.values(found.data.renderableData)
            .flat()
            .map(shape => shape.map(point => toImage(id, point))),
          text: Array.from(
            document.querySelectorAll(`svg.svg-layer g[data-annotation-uid="${found.annotationUID}"] tspan`),
            line => line.textContent
          ),
        }));
    },

    /** The lines and polylines on the screen, in image coordinates, without those that lead to a text. */
    drawn: () => {
      const back = fromCanvas(plane().id);
      const pairs = text => text.trim().split(/\s+/).map(pair => pair.split(',').map(Number));
      const polylines = Array.from(document.querySelectorAll('svg.svg-layer polyline'), line =>
        line.getAttribute('points').replace(/,\s+/g, ',')
      ).map(pairs);
      const lines = Array.from(document.querySelectorAll('svg.svg-layer line'), line => [
        [Number(line.getAttribute('x1')), Number(line.getAttribute('y1'))],
        [Number(line.getAttribute('x2')), Number(line.getAttribute('y2'))],
      ]);
      return [...polylines, ...lines].map(shape => shape.map(back));
    },

    /** What can be read where the pictures are. */
    read: () => document.querySelector('[data-cy="viewport-grid"]').innerText,

    /** What the list of series says: modality, description, number. */
    listed: () =>
      window.services.displaySetService.getActiveDisplaySets().map(set => {
        const entry = document.getElementById(`thumbnail-${set.displaySetInstanceUID}`);
        return { series: set.SeriesInstanceUID, text: entry.innerText, warned: Boolean(set.unsupported) };
      }),

    /** The rectangles of the canvas and of every text over it, to see whether it can be read. */
    texts: () => {
      const box = element => {
        const { left, top, right, bottom } = element.getBoundingClientRect();
        return [left, top, right, bottom];
      };
      return {
        canvas: box(viewport().getCanvas()),
        texts: Array.from(document.querySelectorAll('svg.svg-layer g text'), text => ({
          text: text.textContent,
          box: box(text),
        })),
      };
    },
  };
})();
return asking[arguments[0]](...Array.from(arguments).slice(1));
