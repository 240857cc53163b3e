"""The demonstration on handwritten digits. It needs scikit-learn, matplotlib and jinja2."""
