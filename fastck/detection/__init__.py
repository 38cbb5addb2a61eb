"""Face detection beyond dlib's own call: its search compiled, detections kept between runs, boxes brought along."""
